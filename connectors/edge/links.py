"""POST /links: the merchant registers a link it created."""

import re
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from connectors.clock import micros_now
from connectors.edge.access import Access
from connectors.edge.asgi import RETRY_AFTER_SECONDS, HungUp, TooLarge, read_body, traceparent
from connectors.publish import Publishes, Unavailable
from connectors.reading import LONGEST_ID
from schemas.codec import LINK_REGISTERED
from schemas.money import BadAmount, exponent, minor_units
from schemas.records import MOST_LINKS, LinkRegistered
from schemas.topics import LINKS, message_key

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


class BadLink(ValueError):
    """A field of the registration is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def _rfc3339(value: Any) -> Any:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 date and time with its offset from UTC")
    return value


# No other than what is read of callbacks: else a link could be registered and never reported on.
# Without control characters, and neither "." nor "..".
_NAME = r"^(\.{0,2}[^.\x00-\x1f\x7f][^\x00-\x1f\x7f]*|\.{3}[^\x00-\x1f\x7f]*)$"
Identifier = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, pattern=_NAME)]


class LinkForm(BaseModel):
    """The body of POST /links."""

    model_config = ConfigDict(extra="forbid", strict=True)

    provider: str
    link_id: Identifier
    order_id: Identifier | None = None
    amount: Annotated[str, Field(max_length=40, pattern=r"^[0-9]+(\.[0-9]+)?$")] | None = None
    currency: str | None = None
    expires_at: Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_rfc3339)] | None = (
        None
    )
    links_in_order: Annotated[int, Field(ge=1, le=MOST_LINKS)] | None = None


def _micros(moment: datetime) -> int:
    # Whole seconds and microseconds apart: a float of both would not be exact.
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond


def _amount_minor(form: LinkForm) -> int | None:
    if form.currency is None:
        if form.amount is not None:
            raise BadLink("currency", "is needed with an amount")
        return None
    try:
        exponent(form.currency)
    except BadAmount as error:
        raise BadLink("currency", str(error)) from error
    if form.amount is None:
        return None
    try:
        return minor_units(Decimal(form.amount), form.currency)
    except BadAmount as error:
        raise BadLink("amount", str(error)) from error


def registration(body: bytes, providers: Collection[str], now: int) -> LinkRegistered:
    """The registration in a request's body. Raises ValidationError or BadLink; `now` in
    microseconds.
    """
    form = LinkForm.model_validate_json(body)
    if form.provider not in providers:
        raise BadLink("provider", f"must be one of {', '.join(sorted(providers))}")
    return {
        "provider": form.provider,
        "link_id": form.link_id,
        "order_id": form.order_id,
        "amount_minor": _amount_minor(form),
        "currency": form.currency,
        "expires_at": _micros(form.expires_at) if form.expires_at else None,
        "links_in_order": form.links_in_order,
        "registered_at": now,
    }


def _wrong(error: ValidationError | BadLink) -> Response:
    if isinstance(error, BadLink):
        errors = [{"field": error.field, "message": error.message}]
    else:
        details = error.errors(include_url=False, include_input=False, include_context=False)
        errors = [
            {"field": str(e["loc"][0]) if e["loc"] else "body", "message": e["msg"]}
            for e in details
        ]
    return JSONResponse({"errors": errors}, 422)


class LinksEndpoint:
    """Takes registrations from whoever may act, and answers 202 when they are on Kafka."""

    def __init__(self, providers: Collection[str], publisher: Publishes, access: Access) -> None:
        self._providers = providers
        self._publisher = publisher
        self._access = access

    async def post(self, request: Request) -> Response:
        client = request.client.host if request.client else None
        if not self._access.granted(client, request.headers):
            return PlainTextResponse(
                "needs the bearer token\n", 401, {"www-authenticate": "Bearer"}
            )
        headers = dict(request.headers)
        try:
            body = await read_body(request.receive, headers)
            link = registration(body, self._providers, micros_now())
            await self._publish(link, headers)
        except TooLarge:
            return PlainTextResponse("larger than 64 KiB\n", 413)
        except (ValidationError, BadLink) as error:
            return _wrong(error)
        except Unavailable:
            again = {"retry-after": str(RETRY_AFTER_SECONDS)}
            return PlainTextResponse("cannot take it now, send it again\n", 503, again)
        except HungUp:
            return Response(status_code=400)
        return JSONResponse({"provider": link["provider"], "link_id": link["link_id"]}, 202)

    async def _publish(self, link: LinkRegistered, headers: dict[str, str]) -> None:
        key = message_key(link["provider"], link["link_id"])
        value = LINK_REGISTERED.encode(link)
        await self._publisher.publish(LINKS.name, key, value, traceparent(headers))
