"""Several searches on one front."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from nas.service.routes.common import HouseHere, Reader
from nas.service.routes.results import Priced
from nas.service.schemas import Name

router = APIRouter(prefix="/v1", tags=["results"])

KINDS = {
    "json": "application/json",
    "csv": "text/csv",
    "table": "text/plain; charset=utf-8",
    "svg": "image/svg+xml",
}


@router.get(
    "/compare",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in KINDS.values()}, "description": "The comparison."}},
)
def compare(
    who: Reader,
    house: HouseHere,
    search: Annotated[list[Name], Query(min_length=2, max_length=20, description="Identities of yours.")],
    format: Literal["json", "csv", "table", "svg"] = "json",
    overrides: Priced = [],  # noqa: B006
) -> Response:
    """Puts several searches on one front, as `nas compare` does; svg is its picture."""
    found = house.compare([house.queue.get(identity, who.owner) for identity in search], overrides)
    write = {"json": found.to_json, "csv": found.to_csv, "table": found.to_table, "svg": found.to_svg}[format]
    with house.drawing:
        return Response(write(), media_type=KINDS[format])
