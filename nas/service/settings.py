"""What an administrator sets: one YAML file, or `key=value` of `nas serve`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search_space.errors import InputError
from search_space.plain import check_plain, parse_yaml, read_yaml

LOOPBACK = ("127.0.0.1", "::1", "localhost")

Number = Annotated[int, Field(ge=0, le=2**31)]
Count = Annotated[int, Field(ge=1, le=2**31)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]


class Section(BaseModel):
    """Values of known keys, which stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Access(Section):
    """Who may use the service.

    Attributes:
        by: "local" (everybody on this machine, as one owner: loopback only), "tokens" (`nas token`), or "proxy" (one
            that authenticates, and names the user in a header).
        header: that the proxy sets.
        proxies: addresses from which the header is believed.
        admins: users of the proxy who may do everything.
    """

    by: Literal["local", "tokens", "proxy"] = "local"
    header: str = Field(default="X-Forwarded-User", pattern=r"^[A-Za-z0-9-]{1,64}$")
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    admins: tuple[str, ...] = ()


class Allow(Section):
    """What submitted configurations may name, beside parts of the catalogues; nothing by default.

    Attributes:
        imports: dotted paths "package.module:Name", or whole modules "package.module". They run as the service.
        files: files, or folders with all that is in them, for text.paths and target.profile.
        addresses: Ray clusters, for workers.address.
        tracking: MLflow servers, for tracking.uri.
    """

    imports: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    tracking: tuple[str, ...] = ()


class Limits(Section):
    """The most that users may ask for.

    Attributes:
        body: bytes of a request.
        requests: by a user in a minute.
        streams: by a user at once, of events.
        open: searches of a user that have not ended.
        trials: of a search.
        seconds: of a search.
        layers: of a layout that is searched, priced or exported.
        steps: of a training run.
        cores: of one search.
        gpus: of one search.
        evaluate_seconds: of `layouts/evaluate`, which trains while the client waits.
    """

    body: Count = 2**18
    requests: Count = 600
    streams: Count = 20
    open: Count = 500
    trials: Count = 10_000
    seconds: Seconds = 7 * 24 * 3600.0
    layers: Count = 128
    steps: Count = 1_000_000
    cores: Count = 4096
    gpus: Number = 1024
    evaluate_seconds: Seconds = 300.0


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


class Settings(Section):
    """All of them.

    Attributes:
        folder: of the service: its database and its searches. Several servers on one database share it.
        database: URL; an SQLite file in the folder by default. PostgreSQL: "postgresql://user@host/name".
        host: address that the server listens on.
        port: that it listens on.
        jobs: address of a Ray cluster's dashboard ("http://HEAD:8265"), as jobs of which searches run; null means
            processes of this machine.
        cores: that the searches of this server may use together: those of this machine, or its share of the cluster.
        gpus: likewise.
        quota: cores that the searches of one user may use together; null means all.
        quotas: user -> cores, where they differ from `quota`.
        gpu_quota: GPUs that the searches of one user may use together; null means all.
        gpu_quotas: user -> GPUs, where they differ from `gpu_quota`.
        tracking: MLflow server of the searches that name none; null means a database in each search's folder.
        lease: seconds without a sign of life after which another server takes over a server's searches.
        grace: seconds that a search has to end by itself when it is stopped.
    """

    folder: str = "runs/service"
    database: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8642
    jobs: str | None = Field(default=None, pattern=r"^https?://[^/\s@]+/?$")
    cores: Count = Field(default_factory=lambda: os.cpu_count() or 1)
    gpus: Number = Field(default_factory=_gpus)
    quota: Count | None = None
    quotas: dict[str, Count] = {}
    gpu_quota: Number | None = None
    gpu_quotas: dict[str, Number] = {}
    tracking: str | None = None
    lease: Seconds = 30.0
    grace: Seconds = 60.0
    access: Access = Access()
    allow: Allow = Allow()
    limits: Limits = Limits()

    @property
    def root(self) -> Path:
        """The folder, as an absolute path."""
        return Path(self.folder).absolute()

    @property
    def database_url(self) -> str:
        """Where the queue is."""
        return self.database or f"sqlite:///{self.root / 'service.db'}"

    @property
    def trust(self) -> bool:
        """Whether searches may name code or clusters at all; what they name is looked at when they come."""
        return bool(self.allow.imports or self.allow.addresses)

    def quota_of(self, owner: str) -> int:
        """Cores that a user's searches may use together."""
        return self.quotas.get(owner, self.quota or 2**31)

    def gpu_quota_of(self, owner: str) -> int:
        """GPUs that a user's searches may use together."""
        return self.gpu_quotas.get(owner, 2**31 if self.gpu_quota is None else self.gpu_quota)


def load_settings(source: str | Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """The settings in a file, with overrides.

    Raises:
        InputError: no such key, or a value that does not fit.
    """
    content = read_yaml(source, "--settings") if source is not None else {}
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise InputError("--settings", source, "a YAML mapping of settings")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise InputError("override", override, "key=value, such as port=8080")
        *parents, last = key.split(".")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise InputError(key, value, f"a key; {parent} holds none")
        place[last] = parse_yaml(value, key)
    check_plain(content, "")
    return _checked(content)


def _checked(content: dict[str, Any]) -> Settings:
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        expected = "a known setting" if first["type"] == "extra_forbidden" else first["msg"].lower()
        raise InputError(key, first["input"], expected) from error
    if settings.access.by == "local" and settings.host not in LOOPBACK:
        raise InputError("host", settings.host, "127.0.0.1, unless access.by is tokens or proxy: others could run code")
    return settings
