"""Whether the server lives and works, and its numbers for Prometheus."""

import time

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from sqlalchemy import select

from nas.service.problems import problem
from nas.service.routes.common import HouseHere, Reader
from nas.service.tables import STATES

router = APIRouter(tags=["health"])

STALE = 60.0
"""Seconds without a look at the queue after which a server is not ready."""


@router.get("/healthz", response_class=PlainTextResponse)
def healthz() -> str:
    """Whether the server answers."""
    return "ok\n"


@router.get("/readyz", response_class=PlainTextResponse, responses={503: {"description": "It is not."}})
def readyz(house: HouseHere):
    """Whether it can work: the database answers, and the queue is looked at."""
    with house.database.read() as session:
        session.execute(select(1))
    if house.keeper.running and time.monotonic() - house.keeper.seen > STALE:
        return problem(503, "Not ready", "the queue is not looked at")
    return PlainTextResponse("ok\n")


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(who: Reader, house: HouseHere) -> str:
    """Numbers of the service, in the text format of Prometheus."""
    counts, (_, leases) = house.queue.counts(), house.leases.all()
    mine = [lease for lease in leases if lease.server == house.keeper.name]
    lines = ["# HELP nas_searches Searches by state.", "# TYPE nas_searches gauge"]
    lines += [f'nas_searches{{state="{state}"}} {counts.get(state, 0)}' for state in STATES]
    for name, text, value in (
        ("nas_server_searches", "Searches that this server runs.", len(mine)),
        ("nas_server_cores_used", "Cores of this server that they take.", sum(lease.cores for lease in mine)),
        ("nas_server_cores", "Cores of this server.", house.settings.cores),
        ("nas_server_gpus_used", "GPUs of this server that they take.", sum(lease.gpus for lease in mine)),
        ("nas_server_gpus", "GPUs of this server.", house.settings.gpus),
    ):
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {value}"]
    lines += ["# HELP nas_responses_total Responses by status.", "# TYPE nas_responses_total counter"]
    lines += [f'nas_responses_total{{status="{code}"}} {n}' for code, n in sorted(house.answers.items())]
    return "\n".join(lines) + "\n"
