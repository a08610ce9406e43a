"""What Ray reads from the environment when it is imported: quiet, and closed to others."""

import logging
import os
import secrets
import sys
import tempfile
from pathlib import Path

from search_space.errors import InputError
from workers.watch import afterwards, removal

logger = logging.getLogger(__name__)

QUIET = {
    # No usage reports, and no warning about a later change of Ray's defaults.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
CLOSED = {
    # All of Ray's ports are then on the loopback interface alone: Ray takes the machine for one of a system on which it
    # knows no clusters.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}
TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Where Ray looks for its token, before ~/.ray/auth_token."""


def prepare(address: str | None) -> None:
    """Sets what the user has not set; to be called before Ray is imported.

    A Ray of our own is reached from this machine alone, and only with a token that the owner of this process can read.
    Of a cluster that was started by others a token is required.

    Args:
        address: of a running cluster; None where Ray is to be started on this machine.

    Raises:
        InputError: there is no token for the cluster.
    """
    unset = [name for name in CLOSED if name not in os.environ]
    _set(QUIET)
    if address is not None:
        _require_token(address)
        return
    if unset and "ray" in sys.modules:
        logger.warning(
            "Ray was imported before the search: its ports may be open to other machines (set %s before the import)",
            " ".join(f"{name}={CLOSED[name]}" for name in unset),
        )
    _set(CLOSED)
    if os.environ["RAY_AUTH_MODE"] == "token" and not any(name in os.environ for name in TOKENS):
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(_make_token())


def _set(values: dict[str, str]) -> None:
    for name, value in values.items():
        os.environ.setdefault(name, value)


def _make_token() -> Path:
    """A file with a new token in a new folder, both for this user alone; they go when this process ends."""
    folder = tempfile.mkdtemp(prefix="nas-ray-")
    afterwards(removal(folder))
    path = Path(folder, "token")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    return path


def _require_token(address: str) -> None:
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    known = any(name in os.environ for name in TOKENS) or Path("~/.ray/auth_token").expanduser().exists()
    if os.environ["RAY_AUTH_MODE"] == "token" and not known:
        expected = (
            "a cluster with a token, in the file that RAY_AUTH_TOKEN_PATH names or in ~/.ray/auth_token "
            "(docs/workers.md); RAY_AUTH_MODE=disabled goes without"
        )
        raise InputError("workers.address", address, expected)
