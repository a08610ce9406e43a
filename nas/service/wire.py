"""Requests to a service, and what it says to them."""

import json
import os
from collections.abc import Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from search_space.errors import InputError

SERVER = "http://127.0.0.1:8642"
PATIENCE = 600.0
"""Seconds that an answer may take: a layout may be trained meanwhile."""


class _NoRedirect(HTTPRedirectHandler):
    """A token goes nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Wire:
    """The way to a service.

    Args:
        server: its URL; by default that in the environment variable NAS_SERVER, or else this machine's.
        token: of `nas token`; by default that in NAS_TOKEN. A service for one machine alone needs none.

    Raises:
        InputError: that is no URL.
    """

    def __init__(self, server: str | None = None, token: str | None = None):
        self.server = (server or os.environ.get("NAS_SERVER") or SERVER).rstrip("/")
        parts = urlsplit(self.server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("NAS_SERVER", self.server, "http://HOST:PORT or https://HOST")
        token = token or os.environ.get("NAS_TOKEN")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise InputError("NAS_TOKEN", "...", "a token of nas token")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        here = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._opener = build_opener(_NoRedirect(), *([ProxyHandler({})] if here else []))

    def ask(self, method: str, path: str, content: Any = None, where: Sequence[tuple[str, str]] = ()) -> Any:
        """One request; what it answers as plain data.

        Raises:
            InputError: the service says no.
            OSError: it cannot be reached, or an error happened there.
        """
        with self.send(method, path, content, where) as answer:
            return json.load(answer)

    def send(self, method: str, path: str, content: Any = None, where: Sequence[tuple[str, str]] = ()) -> Any:
        """As `ask`, but returns the answer itself, to be read and closed."""
        url = f"{self.server}{path}" + (f"?{urlencode(where)}" if where else "")
        body = None if content is None else json.dumps(content).encode()
        headers = {**self._headers, "Content-Type": "application/json"}
        try:
            return self._opener.open(Request(url, body, headers, method=method), timeout=PATIENCE)
        except HTTPError as error:
            raise _said(error, self.server) from None
        except (URLError, TimeoutError, ConnectionError) as error:
            why = getattr(error, "reason", None) or error
            raise OSError(
                None, f"the service cannot be reached ({why}); NAS_SERVER names another", self.server
            ) from None


def _said(error: HTTPError, server: str) -> Exception:
    """What a service that said no has said."""
    try:
        found = json.loads(error.read())
        if "key" in found:
            return InputError(str(found["key"]), found["value"], str(found["expected"]))
        return OSError(None, str(found["detail"]), server)
    except (ValueError, TypeError, LookupError):
        return OSError(None, f"an answer that is not of the service (status {error.code})", server)
