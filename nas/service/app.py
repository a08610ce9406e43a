"""The service over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

import nas
from nas.service.guard import Guard
from nas.service.house import House
from nas.service.problems import PROBLEMS, add_problems
from nas.service.routes import compare, events, health, layouts, results, searches

ABOUT = """Searches for hybrid language-model layouts, for a team.

Errors are problem details (RFC 9457, `application/problem+json`) with the key, the value and what was expected, as the
command line says it. Clients send `Authorization: Bearer TOKEN`, unless the service is for this machine alone."""
PAGE = {
    "index.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "chart.js": "text/javascript",
}
"""Files of the page -> their kinds."""


def create_app(house: House, run: bool = True) -> FastAPI:
    """The application.

    Args:
        house: what it serves; closed with it.
        run: whether to run searches, too.
    """

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        if run:
            await run_in_threadpool(house.keeper.index)
            house.keeper.start()
        yield
        await run_in_threadpool(house.close)

    app = FastAPI(title="nas", version=nas.__version__, description=ABOUT, lifespan=life, docs_url=None, redoc_url=None)
    app.state.house = house
    for room in (searches, results, compare, events, layouts):
        app.include_router(room.router, responses=PROBLEMS)
    app.include_router(health.router)
    add_problems(app, str(house.settings.root))
    for name, kind in PAGE.items():
        content = files("nas.service.page").joinpath(name).read_bytes()
        path = "/" if name == "index.html" else f"/{name}"
        app.add_api_route(path, _file(content, kind), include_in_schema=False)
    app.add_middleware(Guard, settings=house.settings, answers=house.answers)
    return app


def _file(content: bytes, kind: str) -> Any:
    async def file() -> Response:
        return Response(content, media_type=kind)

    return file


def serve(house: House) -> None:
    """Serves until it is told to end."""
    import uvicorn

    settings = house.settings
    uvicorn.run(
        create_app(house),
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # the address of the client is that of the connection
        server_header=False,
        limit_concurrency=1000,
        timeout_graceful_shutdown=5,
    )
