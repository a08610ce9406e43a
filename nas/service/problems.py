"""Errors as problem details (RFC 9457), with the key, the value and what was expected, as on the command line."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from nas.service.errors import Conflict, Denied, Missing, TooMany, Unknown
from search_space.errors import LONGEST, InputError, line

logger = logging.getLogger(__name__)

STATUS: dict[type[Exception], tuple[int, str]] = {
    Missing: (404, "There is no such thing"),
    Conflict: (409, "It cannot be done as things stand"),
    Denied: (403, "The client may not do it"),
    Unknown: (401, "The client is not known"),
    TooMany: (429, "Too much at once"),
    InputError: (422, "The input cannot be used"),
}


class Problem(BaseModel):
    """What went wrong, as in RFC 9457."""

    type: str = "about:blank"
    title: str = Field(description="The kind of problem.")
    status: int = Field(description="The HTTP status again.")
    detail: str = Field(description="The problem in a sentence.")
    key: str | None = Field(None, description="What was wrong in the input: a dotted key of the configuration, say.")
    value: str | None = Field(None, description="What stood there, in short.")
    expected: str | None = Field(None, description="What could stand there.")


def problem(status: int, title: str, detail: str, **more: str | None) -> JSONResponse:
    """A response that says what went wrong."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Retry-After": "10"} if status == 429 else {}
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def said(error: InputError, root: str = "") -> JSONResponse:
    """The response to input that cannot be used.

    Args:
        error: what was wrong.
        root: folder of the service, which is nobody's business.
    """
    status, title = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)

    def short(value: Any, longest: int = LONGEST) -> str:
        text = line(value, longest)
        return text.replace(root, "...") if root else text

    key, value, expected = short(error.key), short(error.value), short(error.expected, 4 * LONGEST)
    detail = f"{key}={value}: expected {expected}"
    return problem(status, title, detail, key=key, value=value, expected=expected)


def add_problems(app: FastAPI, root: str) -> None:
    """Has every error of the application answered with a problem."""

    @app.exception_handler(InputError)
    async def on_input(request: Request, error: InputError) -> JSONResponse:
        return said(error, root)

    @app.exception_handler(RequestValidationError)
    async def on_request(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
        expected = "a known key" if first["type"] == "extra_forbidden" else first["msg"]
        return said(InputError(".".join(where) or "body", first.get("input"), expected), root)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        detail = f"{request.method} {line(request.url.path)}: {line(error.detail)}"
        response = problem(error.status_code, line(error.detail), detail)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(SQLAlchemyError)
    async def on_database(request: Request, error: SQLAlchemyError) -> JSONResponse:
        logger.warning("the database: %s", str(error).splitlines()[0])
        return problem(503, "The database cannot be used", "try again in a moment")

    @app.exception_handler(Exception)
    async def on_error(request: Request, error: Exception) -> JSONResponse:
        logger.error("%s %s", request.method, line(request.url.path), exc_info=error)
        return problem(500, "An error in the service", "the server's log says more")


PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": title, "content": {"application/problem+json": {}}}
    for code, title in [*STATUS.values(), (400, "The body is no JSON"), (413, "The body is too large")]
}
"""For the description of the API."""
