"""The JSON API of a process: one FastAPI application, made of the routers of its rooms.

FastAPI checks requests by the types of the endpoints and writes `/openapi.json` from them. Every
answer that is not a success has the same shape, `Error`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors.http.access import Access
from connectors.reasons import field_reason
from schemas.limits import BODY_BYTES, RETRY_AFTER_SECONDS

RETRY_AFTER = {"Retry-After": str(RETRY_AFTER_SECONDS)}
_ABOUT = (
    "Payment links: callbacks of their providers come in, one status per link goes out. "
    "Times are RFC 3339 in UTC with microseconds; money is an integer in minor units."
)
_NO_SPANS: Any = {"tracing": False, "metrics": False, "logs": False}


class Error(BaseModel):
    """The answer to a request that failed."""

    error: str = Field(description="What is wrong, then what to do.")
    fields: dict[str, str] | None = Field(
        None, description="The wrong parameters or fields by name, each with what is wrong."
    )


REFUSALS: dict[HTTPStatus, str] = {
    HTTPStatus.UNAUTHORIZED: (
        "a token is needed: send Authorization: Bearer …, or open /?token=… in a browser"
    ),
    HTTPStatus.FORBIDDEN: "the request did not come from a page of this board",
    HTTPStatus.MISDIRECTED_REQUEST: "this server answers to 127.0.0.1 and localhost",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The documentation of error answers, for `responses` of an endpoint or a router."""
    return {
        status: {"model": Error, "description": HTTPStatus(status).phrase} for status in statuses
    }


# The HTTP server answers before the API sees the request (`connectors.http.refusals`).
_OF_SERVER: dict[int | str, dict[str, Any]] = {
    431: {
        "description": "The address and the headers are too large",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


def error_response(
    status: int,
    message: str,
    fields: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error answer."""
    body: dict[str, Any] = {"error": message}
    return JSONResponse(body | ({"fields": dict(fields)} if fields else {}), status, headers)


def refusal(status: HTTPStatus) -> Response:
    """The answer to a request that the access rules refuse."""
    needs_token = status == HTTPStatus.UNAUTHORIZED
    headers = {"WWW-Authenticate": "Bearer"} if needs_token else None
    return error_response(status, REFUSALS[status], headers=headers)


class InvalidField(Exception):
    """A parameter or a field is wrong. Becomes a 422."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.fields = {name: message}


@dataclass(frozen=True, slots=True)
class Guard:
    """Lets through what the access rules allow, and the paths that are `open` to all; `refuse`
    makes the other answers.
    """

    app: ASGIApp
    access: Access
    refuse: Callable[[Request, HTTPStatus], Response] = lambda _, status: refusal(status)
    open: Collection[str] = ()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        status = None if scope["path"] in self.open else self.access.refusal(request)
        app = self.app if status is None else self.refuse(request, status)
        await app(scope, receive, send)


@dataclass(frozen=True, slots=True)
class _BodyLimit:
    """Stops reading a request's body at 64 KiB, with a 413. A body in a transfer coding that the
    server does not take off would be read as if it had none: that is a 415.

    No endpoint reads the body of a GET. A stream only looks whether its client is still there, and
    cannot be refused once it has begun.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        size, codings = 0, ", ".join(Headers(scope=scope).getlist("transfer-encoding"))

        async def limited() -> Message:
            nonlocal size
            if codings.lower() not in ("", "chunked"):
                raise HTTPException(415, "cannot decode this transfer-encoding; send chunked")
            message = await receive()
            size += len(message.get("body", b""))
            if size > BODY_BYTES:
                raise HTTPException(413, "the body is larger than 64 KiB")
            return message

        await self.app(scope, limited, send)


def create_api(*routers: APIRouter) -> FastAPI:
    """An application with these routers, and `GET /openapi.json`."""
    app = FastAPI(
        title="linkstatus",
        version="1",
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        middleware=[Middleware(_BodyLimit)],
        telemetry=_NO_SPANS,
        generate_unique_id_function=lambda route: route.name,
        responses=errors(401, 421, 422) | _OF_SERVER,
        exception_handlers={
            HTTPException: _http_error,
            RequestValidationError: _invalid_request,
            InvalidField: _invalid_field,
        },
    )
    for router in routers:
        app.include_router(router)
    return app


async def _http_error(_: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.BAD_REQUEST:  # FastAPI: neither UTF-8 nor JSON
        return _invalid({"body": "is not JSON"})
    missing = error.status_code == HTTPStatus.NOT_FOUND and error.detail == "Not Found"
    message = "no such address" if missing else str(error.detail)
    return error_response(error.status_code, message, headers=error.headers)


async def _invalid_request(_: Request, error: RequestValidationError) -> Response:
    return _invalid({_field(e["loc"]): field_reason(e) for e in error.errors()})


def _field(location: Sequence[str | int]) -> str:
    """The name of a field, without the first part, which is path, query or body."""
    names = [str(part) for part in location[1:] if not isinstance(part, int)]
    return ".".join(names) or "body"


async def _invalid_field(_: Request, error: InvalidField) -> Response:
    return _invalid(error.fields)


def _invalid(fields: Mapping[str, str]) -> Response:
    text = "; ".join(f"{name}: {message}" for name, message in fields.items())
    return error_response(HTTPStatus.UNPROCESSABLE_ENTITY, text, fields)
