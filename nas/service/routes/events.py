"""Progress and log of a search as server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from nas.service.errors import Missing
from nas.service.routes.common import Found, HouseHere, Reader
from nas.service.routes.results import read_log
from nas.service.schemas import SearchShown
from nas.service.tables import Search

router = APIRouter(prefix="/v1/searches/{identity}", tags=["results"])

EVERY = 1.0
"""Seconds between two looks."""
QUIET = 15.0
"""Seconds after which a comment shows that the connection stands."""


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}, "description": "`search`, `log` and `end` events."}},
)
async def events(search: Found, who: Reader, house: HouseHere, request: Request, log: bool = True) -> StreamingResponse:
    """Follows a search: `search` with the search at every change, `log` with new text, `end` when it has ended."""
    house.door.check_streams(who)

    async def follow() -> AsyncIterator[str]:
        version, offset, last, now = -1, 0, time.monotonic(), search
        with house.door.stream(who), suppress(Missing):
            while not await request.is_disconnected():
                if now.version != version:
                    version, last = now.version, time.monotonic()
                    yield event("search", SearchShown.of(now).model_dump_json())
                while log and (text := await run_in_threadpool(read_log, house, search.id, offset)):
                    offset += len(text)
                    yield event("log", json.dumps(text.decode("utf-8", "replace")))
                if ended(now):
                    yield event("end", json.dumps(now.state))
                    return
                if time.monotonic() - last > QUIET:
                    last = time.monotonic()
                    yield ": still here\n\n"
                await asyncio.sleep(EVERY)
                now = await run_in_threadpool(house.queue.get, search.id, who.owner)
        yield event("end", json.dumps("deleted"))

    return StreamingResponse(follow(), media_type="text/event-stream")


def ended(search: Search) -> bool:
    """Whether nothing more happens to a search by itself."""
    return search.state in ("complete", "failed", "stopped") and search.wanted != "delete"


def event(name: str, data: str) -> str:
    """An event, as it goes over the wire."""
    return f"event: {name}\ndata: {data}\n\n"
