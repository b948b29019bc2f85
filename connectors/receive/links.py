"""The edge's part of the JSON API: `POST /links`, and the description of the callback URLs."""

from collections.abc import Callable, Collection, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from connectors.clock import micros_now
from connectors.http.api import RETRY_AFTER, InvalidField, errors
from connectors.kafka.publisher import Publishes, Unavailable
from connectors.receive.asgi import TEXTS, traceparent
from schemas.codec import LINK_REGISTERED, Codecs, SchemaAway
from schemas.link_form import BadLink, LinkForm, registration
from schemas.topics import LINKS, message_key

_TEXT = {"content": {"text/plain": {"schema": {"type": "string"}}}}
_CALLBACK_ANSWERS: dict[int | str, dict[str, Any]] = {
    **{status: {"description": text.decode().strip(), **_TEXT} for status, text in TEXTS.items()},
    200: {"description": "Kept: the record is on Kafka with acks=all. The body is empty."},
    408: {"description": "Headers or body came too slowly.", **_TEXT},
}
_CALLBACK_ANSWERS[503]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
_CALLBACK_BODY = {
    "description": "As the provider sends it, up to 64 KiB; its meaning is read later.",
    "content": {
        "application/json": {"schema": {}},
        "application/x-www-form-urlencoded": {
            "schema": {"type": "object", "additionalProperties": {"type": "string"}}
        },
        "text/plain": {"schema": {"type": "string"}},
    },
}


class _JsonRoute(APIRoute):
    """Reads the body as JSON, whatever type its client names: `curl -d` names that of a form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_as_json(request: Request) -> Response:
            others = [header for header in request.scope["headers"] if header[0] != b"content-type"]
            headers = [*others, (b"content-type", b"application/json")]
            return await handle(Request({**request.scope, "headers": headers}, request.receive))

        return handle_as_json


class Registered(BaseModel):
    """The link that was registered."""

    provider: str
    link_id: str


def router(providers: Collection[str], publisher: Publishes, codecs: Codecs) -> APIRouter:
    """`POST /links`, and the description of the callback URLs."""
    router = APIRouter(tags=["edge"], route_class=_JsonRoute)

    @router.post(
        "/links",
        status_code=202,
        responses=errors(413, 503),
        dependencies=[Depends(HTTPBearer(auto_error=False))],
    )
    async def register_link(form: LinkForm, request: Request) -> Registered:
        """Register a link that the merchant created. 202: it is on Kafka with acks=all."""
        try:
            link = registration(form, providers, micros_now())
        except BadLink as error:
            raise InvalidField(error.field, error.message) from None
        key = message_key(link["provider"], link["link_id"])
        try:
            value = codecs.encode(LINK_REGISTERED, link)
            await publisher.publish(LINKS.name, key, value, traceparent(dict(request.headers)))
        except Unavailable:
            message = "Kafka cannot take it now; send it again"
            raise HTTPException(503, message, RETRY_AFTER) from None
        except SchemaAway as error:
            raise HTTPException(503, f"{error}; send it again", RETRY_AFTER) from None
        return Registered(provider=link["provider"], link_id=link["link_id"])

    # For the document: `process.with_callbacks` serves these without the router.
    for path, name, summary in (
        ("/callbacks/{provider}", "callback", "A callback of a provider"),
        ("/callbacks/{provider}/{token}", "callback_with_token", "The same, with a path token"),
    ):
        router.add_api_route(
            path,
            _callback,
            methods=["POST"],
            name=name,
            summary=summary,
            response_class=Response,
            responses=_CALLBACK_ANSWERS,
            openapi_extra={"requestBody": _CALLBACK_BODY},
        )
    return router


def _callback(provider: str, token: Annotated[str, "PATH_TOKEN"] = "") -> None:
    raise NotImplementedError
