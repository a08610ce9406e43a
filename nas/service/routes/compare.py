"""Several searches on one front."""

from typing import Annotated, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query
from fastapi.responses import Response

from nas.service.routes.common import HouseHere, Reader
from nas.service.routes.results import KINDS, Priced
from nas.service.schemas import Name

router = APIRouter(prefix="/v1", tags=["results"])

FORMS = {**KINDS, "svg": "image/svg+xml"}


@router.get(
    "/compare",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in FORMS.values()}, "description": "The comparison."}},
)
async def compare(
    who: Reader,
    house: HouseHere,
    search: Annotated[list[Name], Query(min_length=2, max_length=20, description="Identities of yours.")],
    format: Literal["json", "csv", "table", "svg"] = "json",
    overrides: Priced = [],  # noqa: B006
) -> Response:
    """Puts several searches on one front, as `nas compare` does; svg is its picture."""

    def work() -> str:
        found = house.compare([house.queue.get(identity, who.owner) for identity in search], overrides)
        return {"json": found.to_json, "csv": found.to_csv, "table": found.to_table, "svg": found.to_svg}[format]()

    return Response(await run_sync(work, limiter=house.long), media_type=FORMS[format])
