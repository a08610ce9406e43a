"""What every request passes before anything looks at it: hosts, origins, and the size of bodies."""

import asyncio
import base64
import hashlib
from collections import Counter
from importlib.resources import files
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nas.service.problems import problem
from nas.service.settings import LOOPBACK, Settings

PATIENCE = 30.0
"""Seconds that a client has to send a body."""


def _hashed(name: str) -> str:
    """What allows a script or style of a report: the page shows reports, which bring theirs with them."""
    content = files("nas.report").joinpath(name).read_bytes()
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-src blob:; "
    f"script-src 'self' {_hashed('page.js')}; "
    f"style-src-elem 'self' {_hashed('page.css')}; style-src-attr 'unsafe-inline'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Refuses requests that no client of ours sends, and those that are too large.

    A page of another site that is open in a browser on this machine reaches the loopback interface too: so the name
    that the service is called by has to be this machine's, and a page may only change things that the service served.
    """

    def __init__(self, app: ASGIApp, settings: Settings, answers: Counter[int]):
        self.app, self.settings, self.answers = app, settings, answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.answers[message["status"]] += 1
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(headers, scope["method"])
        body = b""
        if refusal is None:
            try:
                body = await asyncio.wait_for(self._body(receive, headers), PATIENCE)
            except ValueError:
                refusal = problem(413, "The body is too large", f"at most {self.settings.limits.body} bytes")
            except TimeoutError:
                refusal = problem(408, "The body does not come", f"within {PATIENCE:g} s")
        if refusal is not None:
            await refusal(scope, receive, answer)
            return
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, answer)

    def _refusal(self, headers: Headers, method: str):
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        if self.settings.access.by == "local" and name not in LOOPBACK:
            return problem(403, "Another host", "the service goes by 127.0.0.1 and localhost")
        origin = headers.get("origin")
        if origin is not None and method not in ("GET", "HEAD") and urlsplit(origin).netloc != host:
            return problem(403, "Another site", "pages of other sites change nothing here")
        if method == "POST" and not headers.get("content-type", "application/json").startswith("application/json"):
            return problem(415, "No JSON", "Content-Type: application/json")
        return None

    async def _body(self, receive: Receive, headers: Headers) -> bytes:
        """The body; raises ValueError where it is too large."""
        most, parts, size = self.settings.limits.body, [], 0
        if int(headers.get("content-length", "0") or 0) > most:
            raise ValueError
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return b""
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise ValueError
            if not message.get("more_body", False):
                return b"".join(parts)
