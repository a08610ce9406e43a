"""Programs as jobs of a Ray cluster (Ray Jobs): they outlive whoever handed them over, and end with the cluster."""

import logging
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from search_space.errors import InputError, line
from workers.pools.ray_settings import prepare

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that an answer may take."""
REST = 5.0
"""Seconds for which a cluster that did not answer is not asked again."""
MISSING = "Request failed with status code 404"

Found = TypeVar("Found")


class RayJobs:
    """The jobs of a cluster, which may be away for a while. Its token is looked for where Ray does.

    Args:
        address: of its dashboard, such as http://127.0.0.1:8265.

    Raises:
        InputError: there is no token, or Ray is not there; names `workers.address` or `ray`.
    """

    def __init__(self, address: str):
        prepare(address)
        try:
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise InputError("ray", "nothing", f"ray[default]: pip install 'ray[default]' ({line(error)})") from error
        self.address, self._connect = address, partial(JobSubmissionClient, address)
        self._client: Any = None
        self._again = 0.0

    def submit(
        self,
        identity: str,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        cpus: float = 0,
        gpus: float = 0,
    ) -> None:
        """Hands a program over.

        Args:
            identity: of the job; never used before.
            command: the program and its arguments, as every node has them.
            log: file that what it prints is added to.
            environment: variables of the program and its tasks.
            cpus: cores that it takes itself, beside its tasks.
            gpus: GPUs that it takes itself, likewise.

        Raises:
            ConnectionError: the cluster does not take it.
        """
        entry = f"exec {shlex.join(command)} >> {shlex.quote(str(log))} 2>&1"  # signals reach the program itself
        own = {"entrypoint_num_cpus": cpus or None, "entrypoint_num_gpus": gpus or None}
        what = {"entrypoint": entry, "submission_id": identity, "runtime_env": {"env_vars": dict(environment)}}
        self._ask(lambda client: client.submit_job(**what, **own))

    def look(self, identity: str) -> tuple[bool, int | None]:
        """Whether a job waits or runs, and otherwise the exit code of its program.

        There is none where the program did not end by itself: the job never came or was stopped, or its node or the
        cluster was lost.

        Raises:
            ConnectionError: the cluster does not answer.
        """
        found = self._ask(lambda client: client.get_job_info(identity))
        if found is None or found.status.is_terminal():
            return False, found and found.driver_exit_code
        return True, None

    def stop(self, identity: str) -> None:
        """Ends a job; by force after some seconds.

        Raises:
            ConnectionError: the cluster does not answer.
        """
        self._ask(lambda client: client.stop_job(identity))

    def _ask(self, question: Callable[[Any], Found]) -> Found | None:
        """What the cluster answers; None where there is no such job."""
        from ray.exceptions import RayError

        if time.monotonic() < self._again:
            raise ConnectionError(None, "the cluster did not answer a moment ago", self.address)
        try:
            if self._client is None:
                client: Any = self._connect()
                client._do_request = partial(client._do_request, timeout=PATIENCE)  # else it waits for ever
                self._client = client
            return question(self._client)
        except (OSError, RuntimeError, RayError) as error:
            if isinstance(error, RuntimeError) and str(error).startswith(MISSING):
                return None
            self._client, self._again = None, time.monotonic() + REST
            logger.warning("Ray at %s: %s", self.address, line(error))
            raise ConnectionError(None, line(error), self.address) from error
