"""Who a client is, what it may do, and how often."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers

from nas.service.database import Database
from nas.service.errors import Denied, TooMany, Unknown
from nas.service.settings import Settings
from nas.service.tokens import SCOPES, check_owner, find_token
from search_space.errors import InputError

LOCAL = "local"
"""Owner of all that is submitted where everybody on the machine may."""
KNOWN = 10_000
"""Clients whose requests are counted."""


@dataclass(frozen=True)
class Who:
    """A client: whose searches it sees, and what it may do."""

    name: str
    scope: str

    @property
    def owner(self) -> str | None:
        """Whose searches it sees and changes; None means everybody's."""
        return None if self.scope == "admin" else self.name

    def check(self, scope: str) -> None:
        """Raises Denied if it may not do what the scope says."""
        if SCOPES.index(self.scope) < SCOPES.index(scope):
            raise Denied("scope", self.scope, f"a token with the scope {scope}")


class Door:
    """Lets clients in.

    Args:
        database: that knows the tokens.
        settings: of the service.
    """

    def __init__(self, database: Database, settings: Settings):
        self.database, self.settings = database, settings
        self._rate = Rate(settings.limits.requests)
        self._streams = Counter[str]()

    def enter(self, headers: Headers, address: str) -> Who:
        """Who a client is.

        Raises:
            Unknown: it does not say, or not so that it can be believed.
            TooMany: it comes too often.
        """
        try:
            who = self._who(headers, address)
        except InputError:
            self._rate.count(f"address {address}")  # so that nobody tries tokens for long
            raise
        self._rate.count(who.name)
        return who

    def _who(self, headers: Headers, address: str) -> Who:
        access = self.settings.access
        if access.by == "local":
            return Who(LOCAL, "admin")
        kind, _, secret = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and secret:
            token = find_token(self.database, secret.strip())
            if token is None:
                raise Unknown("authorization", "Bearer ...", "a token that is known and has not ended")
            return Who(token.owner, token.scope)
        names = headers.getlist(access.header)  # a proxy that adds its own to the client's is not believed
        if access.by == "proxy" and address in access.proxies and len(names) == 1:
            name = names[0]
            try:
                check_owner(access.header, name)
            except InputError as error:
                raise Unknown(error.key, name, error.expected) from error
            return Who(name, "admin" if name in access.admins else "submit")
        raise Unknown("authorization", "nothing", "Authorization: Bearer TOKEN; an administrator makes one: nas token")

    def check_streams(self, who: Who) -> None:
        """Raises TooMany if a client has as many open streams as it may."""
        if self._streams[who.name] >= self.settings.limits.streams:
            raise TooMany("streams", self._streams[who.name], f"at most {self.settings.limits.streams} at once")

    @contextmanager
    def stream(self, who: Who) -> Iterator[None]:
        """Counts one of a client's streams as open."""
        self._streams[who.name] += 1
        try:
            yield
        finally:
            self._streams[who.name] -= 1


class Rate:
    """Counts requests: each client has `most` to spend, and gets them back over a minute."""

    def __init__(self, most: int):
        self.most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, client: str) -> None:
        """Counts one.

        Raises:
            TooMany: the client has none left.
        """
        now = time.monotonic()
        with self._lock:
            left, seen = self._left.pop(client, (float(self.most), now))
            left = min(self.most, left + (now - seen) * self.most / 60)
            self._left[client] = (max(0.0, left - 1), now)
            if len(self._left) > KNOWN:
                self._left.popitem(last=False)
        if left < 1:
            raise TooMany("requests", client, f"at most {self.most} a minute")
