"""What a search found: front, trials, layouts in export formats, picture, report, log."""

import json
from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, PlainTextResponse, Response

import nas
from nas.results.exporters import EXPORTERS
from nas.service.errors import Missing
from nas.service.kept import REPORT, TRIALS, trials_json
from nas.service.routes.common import Found, HouseHere
from nas.service.schemas import Override, Trials
from search_space.errors import InputError, one_of

router = APIRouter(prefix="/v1/searches/{identity}", tags=["results"])

KINDS = {"json": "application/json", "csv": "text/csv", "table": "text/plain; charset=utf-8"}
ALONE = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; img-src data:; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'self'"
}
"""Of a page that asks the service for nothing, and may not."""
LOG_BYTES = 2**16
"""Most of a log that is sent at once."""
Priced = Annotated[
    list[Override],
    Query(max_length=50, description="For another use: `target.batch=1`, or other `search.objectives`.", alias="set"),
]


@router.get(
    "/front",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in KINDS.values()}, "description": "The front."}},
)
def front(
    search: Found,
    house: HouseHere,
    format: Literal["json", "csv", "table"] = "json",
    overrides: Priced = [],  # noqa: B006
) -> Response:
    """The front, and the published layouts beside it, as `nas front` writes it."""
    return Response(house.written(search, format, overrides), media_type=KINDS[format])


@router.get("/front.svg", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}})
def picture(search: Found, house: HouseHere) -> Response:
    """The front as a picture; there is one as soon as the search has ended or paused."""
    try:
        content = house.folders.at(search.id).path.joinpath("front.svg").read_bytes()
    except OSError as error:
        raise Missing("front.svg", search.state, "a search that has ended or paused") from error
    return Response(content, media_type="image/svg+xml")


@router.get("/report", response_class=HTMLResponse)
async def report(search: Found, house: HouseHere, overrides: Priced = []) -> HTMLResponse:  # noqa: B006
    """The page that `nas report` writes: it loads nothing, and works offline."""
    page = await run_sync(house.made, search, REPORT, nas.Search.report, overrides, limiter=house.long)
    return HTMLResponse(page, headers=ALONE)


@router.get("/trials", response_model=Trials)
def trials(
    search: Found,
    house: HouseHere,
    after: Annotated[int, Query(ge=-1, le=10**9, description="`next` of the page before.")] = -1,
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    overrides: Priced = [],  # noqa: B006
) -> Response:
    """The layouts that were trained, by their numbers."""
    found = json.loads(house.made(search, TRIALS, trials_json, overrides))
    rest = [trial for trial in found if trial["trial"] > after]
    page = {"trials": rest[:limit], "next": rest[limit - 1]["trial"] if len(rest) > limit else None}
    return Response(json.dumps(page), media_type="application/json")


@router.get(
    "/layouts/{pick}",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}, "application/json": {}}, "description": "The layout."}},
)
def layout(
    search: Found,
    house: HouseHere,
    pick: str,
    format: Annotated[str, Query(max_length=100, description="As `/v1/known` lists them.")] = "yaml",
    layers: Annotated[int | None, Query(ge=1, description="Depth; that of the target by default.")] = None,
    width: Annotated[int | None, Query(ge=1, le=2**20, description="Width; that of the target by default.")] = None,
    overrides: Priced = [],  # noqa: B006
) -> Response:
    """A layout as a config: `knee`, the number of a trial, or `all` of the front (then JSON: file name -> text)."""
    if format not in EXPORTERS.names():
        raise InputError("format", format, one_of(format, EXPORTERS.names()))
    if layers is not None and layers > house.settings.limits.layers:
        raise InputError("layers", layers, f"at most {house.settings.limits.layers}")
    texts = house.open(search, overrides).export(pick, format, layers=layers, width=width)
    if pick == "all":
        return Response(json.dumps(texts), media_type="application/json")
    name, text = next(iter(texts.items()))
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return PlainTextResponse(text, headers=headers)


@router.get("/log", response_class=PlainTextResponse)
def log(
    search: Found,
    house: HouseHere,
    offset: Annotated[int, Query(ge=0, le=2**53, description="Bytes that are known already.")] = 0,
) -> Response:
    """What the search's process printed, at most 64 KiB of it."""
    return PlainTextResponse(read_log(house, search.id, offset))


def read_log(house: HouseHere, identity: str, offset: int) -> bytes:
    """Bytes of a search's log from `offset` on; none where there is none."""
    try:
        with house.folders.at(identity).log.open("rb") as file:
            file.seek(offset)
            return file.read(LOG_BYTES)
    except OSError:
        return b""
