"""OpenAPI 3.1 of the edge and the board. Paths and words stand here; what a body holds comes from
the records' schemas and from the form that judges registrations.
"""

from collections.abc import Collection
from typing import Any, get_args

from connectors.cancel_api import Outcome
from connectors.documents.rows import Schema, components, reference
from connectors.documents.shapes import (
    DEAD_LETTER,
    FIELD_ERRORS,
    MAYBE_TEXT,
    ORDER_DETAILS,
    TEXT,
    object_of,
)
from connectors.edge.links import LinkForm
from schemas import codec

_TITLE = (
    "Payment links: callbacks of their providers in, one status per link out. `linkstatus web` "
    "serves all of it; `receive` only what is tagged edge, `board` only what is tagged board."
)
_CALLBACK = "A provider's callback; 200 with an empty body once it is kept"
_ROWS = (codec.LINK_STATUS, codec.LINK_EVENT, codec.ORDER_STATUS, codec.ORDER_CLOSE)
_PART: Schema = {"type": "string", "minLength": 1}


def document(providers: Collection[str]) -> dict[str, Any]:
    """The OpenAPI document of an installation with these providers."""
    rows = components([*_ROWS, codec.SETTLEMENT, codec.ANOMALY, codec.REPLAY])
    rows["Order"] = _order(rows["OrderStatus"])
    return {
        "openapi": "3.1.0",
        "info": {"title": "linkstatus", "version": "1", "description": _TITLE},
        "paths": {path: _item(path, methods) for path, methods in _paths().items()},
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "requestBodies": {"callback": _CALLBACK_BODY},
            "responses": _RESPONSES,
            "schemas": {
                "Provider": {"type": "string", "enum": sorted(providers)},
                "Registration": _registration(),
                "DeadLetter": DEAD_LETTER,
                "Error": object_of({"error": TEXT}, "error"),
                "FieldErrors": FIELD_ERRORS,
                **rows,
            },
        },
    }


def _paths() -> dict[str, dict[str, Any]]:
    """Operations by path and method."""
    link = [reference("LinkStatus"), _listing(timeline="LinkEvent", anomaly_details="Anomaly")]
    subject = "/registry/subjects/{subject}/versions"
    return {
        "/callbacks/{provider}": {"post": _callback(_CALLBACK)},
        "/callbacks/{provider}/{token}": {
            "post": _callback("The same, with the token of {PROVIDER}__PATH_TOKEN")
        },
        "/links": {
            "post": _registering(),
            "get": _page(
                "The links, newest first",
                "links",
                "LinkStatus",
                _query("provider", reference("Provider")),
                _query("status", reference("Status")),
                _query("order_id", TEXT),
            ),
        },
        "/links/{provider}/{link_id}": {
            "get": _board("A link's status with its timeline", {"allOf": link}, 404, 503)
        },
        "/links/{provider}/{link_id}/cancel": {"get": _cancellable(), "post": _cancelling()},
        "/orders": {
            "get": _page(
                "The orders, newest first",
                "orders",
                "OrderStatus",
                _query("provider", reference("Provider")),
                _query("state", reference("OrderState")),
            )
        },
        "/orders/{provider}/{order_id}": {
            "get": _board("An order with its close and settlement", reference("Order"), 404, 503)
        },
        "/anomalies": {
            "get": _page("What a person should see, newest first", "anomalies", "Anomaly")
        },
        "/dead-letters": {
            "get": _page(
                "What no rule understands, newest first",
                "dead_letters",
                "DeadLetter",
                *_chosen(),
                most=100,
            )
        },
        "/dead-letters/replay": {"get": _counting(), "post": _replaying()},
        "/stream": {
            "get": {
                "tags": ["board"],
                "summary": "Server-sent events: every status change, without end",
                "responses": {
                    "200": {"description": "The events", "content": {"text/event-stream": {}}}
                },
            }
        },
        "/registry/subjects": {"get": _registry("The subjects, as a Schema Registry names them")},
        "/registry/schemas/ids/{id}": {"get": _registry("The schema with an id", 404)},
        subject: {"get": _registry("The versions of a subject", 404)},
        f"{subject}/{{version}}": {"get": _registry("A version of a subject", 404)},
    }


def _item(path: str, methods: dict[str, Any]) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return {"parameters": [_in_path(name) for name in names], **methods}


def _in_path(name: str) -> dict[str, Any]:
    schema = reference("Provider") if name == "provider" else _PART
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def _callback(summary: str) -> dict[str, Any]:
    kept = "Kept: the record is on Kafka with acks=all. The body is empty."
    return {
        "tags": ["edge"],
        "summary": summary,
        "requestBody": {"$ref": "#/components/requestBodies/callback"},
        "responses": {"200": {"description": kept}, **_answers(401), **_texts(404, 413), **_LATER},
    }


def _registering() -> dict[str, Any]:
    taken = object_of({"provider": reference("Provider"), "link_id": TEXT}, "provider", "link_id")
    return {
        "tags": ["edge"],
        "summary": "Registers a link the merchant created",
        "security": [{}, {"bearer": []}],
        "requestBody": {"required": True, "content": _json(reference("Registration"))},
        "responses": {
            "202": {"description": "On Kafka with acks=all", "content": _json(taken)},
            **_answers(401),
            **_texts(413),
            "422": {
                "description": "The fields that are wrong",
                "content": _json(reference("FieldErrors")),
            },
            **_LATER,
        },
    }


def _page(
    summary: str, name: str, row: str, *parameters: dict[str, Any], most: int = 500
) -> dict[str, Any]:
    limit = _query("limit", {"type": "integer", "minimum": 1, "maximum": most})
    cursor = {**_query("cursor", TEXT), "description": "`next` of an earlier answer"}
    page = _listing(**{name: row})
    page["required"].append("next")
    page["properties"]["next"] = {"type": ["string", "null"]}
    return {"parameters": [*parameters, limit, cursor], **_board(summary, page, 422, 503)}


def _chosen() -> list[dict[str, Any]]:
    """What narrows dead letters."""
    return [
        _query("provider", reference("Provider")),
        {**_query("reason", TEXT), "description": "A part of it, in any case"},
        _query("stage", TEXT),
        *({**_query(name, TEXT), "description": _MOMENT} for name in ("since", "until")),
        {**_query("place", TEXT), "description": "partition/offset"},
    ]


def _counting() -> dict[str, Any]:
    answer = object_of({"count": {"type": "integer"}}, "count")
    what = "How many dead letters a replay with these words would publish; it does nothing"
    return {"parameters": _chosen(), **_board(what, answer, 422, 503)}


def _replaying() -> dict[str, Any]:
    words = {one["name"]: one["schema"] for one in _chosen()}
    form = {"type": "object", "properties": {**words, "by": TEXT}}
    told = object_of(
        {
            "chosen": {"type": ["integer", "null"]},
            "published": {"type": "integer"},
            "failed": {"type": "boolean"},
            "said": TEXT,
        },
        *("chosen", "published", "failed", "said"),
    )
    answers = {
        "200": {"description": "Done", "content": _json(told)},
        "202": {"description": "Under way, at a limited rate", "content": _json(told)},
    }
    return {
        "tags": ["board"],
        "summary": "Publishes dead letters once more; without a word that narrows, all of them",
        "security": [{"bearer": []}],
        "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": form}}},
        "responses": {**answers, **_answers(401, 403, 409, 422, 503)},
    }


def _cancellable() -> dict[str, Any]:
    link = {"provider": reference("Provider"), "link_id": TEXT, "status": reference("Status")}
    answer = object_of({**link, "why_not": MAYBE_TEXT}, *link, "why_not")
    return _board("Whether the link can be cancelled from here; it does nothing", answer, 404, 503)


def _cancelling() -> dict[str, Any]:
    form = {"type": "object", "properties": {"by": TEXT}}
    outcome = {"type": "string", "enum": list(get_args(Outcome))}
    answer = {"outcome": outcome, "said": TEXT, "noted": {"type": "boolean"}}
    done = "The provider has cancelled it; its status follows with the callback or a lookup"
    return {
        "tags": ["board"],
        "summary": "Asks the provider once to cancel the link for good; notices keeps who asked",
        "description": "409: refused, or not to be cancelled. 404: unknown here, or there. 503: "
        "no answer that counts; `said` and `noted` come with each answer of the provider.",
        "security": [{"bearer": []}],
        "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": form}}},
        "responses": {
            "200": {"description": done, "content": _json(object_of(answer, *answer))},
            **_answers(401, 403, 404, 409, 422, 503),
        },
    }


def _board(summary: str, answer: Schema, *statuses: int) -> dict[str, Any]:
    found = {"200": {"description": summary, "content": _json(answer)}}
    return {
        "tags": ["board"],
        "summary": summary,
        "responses": {**found, **_answers(401, 421, *statuses)},
    }


def _registry(summary: str, *statuses: int) -> dict[str, Any]:
    answers = {str(status): _response("registry") for status in (200, *statuses)}
    return {"tags": ["board"], "summary": summary, "responses": {**answers, **_answers(401, 421)}}


def _answers(*statuses: int) -> dict[str, Any]:
    """The answers that are the same everywhere, by status."""
    kinds = {401: "refused", 404: "missing"}
    return {str(status): _response(kinds.get(status, "error")) for status in statuses}


def _texts(*statuses: int) -> dict[str, Any]:
    return {str(status): _response("text") for status in statuses}


def _response(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{name}"}


def _json(schema: Schema) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _listing(**rows: str) -> Schema:
    """An object of lists: each name with the kind of its rows."""
    lists: dict[str, Schema] = {
        name: {"type": "array", "items": reference(row)} for name, row in rows.items()
    }
    return object_of(lists, *lists)


def _order(row: Schema) -> Schema:
    """An order as it is answered: the row, with the events themselves where it says when."""
    properties = {**row["properties"], **ORDER_DETAILS}
    return {**row, "required": list(properties), "properties": properties}


def _registration() -> Schema:
    schema = LinkForm.model_json_schema()
    schema["properties"]["provider"] = reference("Provider")
    # Its codes are those of ISO 4217; which of them have minor units is told by the answer.
    schema["properties"]["currency"]["anyOf"][0]["pattern"] = "^[A-Z]{3}$"
    return schema


_MOMENT = "How long ago, such as 2h or 3d, or a time in RFC 3339"

_LATER = {"503": _response("later")}

_CALLBACK_BODY = {
    "description": "As the provider sends it, up to 64 KiB; its meaning is read later",
    "content": {
        "application/json": {"schema": {}},
        "application/x-www-form-urlencoded": {
            "schema": {"type": "object", "additionalProperties": TEXT}
        },
        "text/plain": {"schema": TEXT},
    },
}

_MISSING = "There is none; in plain text where the id cannot be one, such as with a line feed in it"

_RESPONSES = {
    "text": {"description": "Why not", "content": {"text/plain": {"schema": TEXT}}},
    "later": {
        "description": "Cannot be taken now, to be sent again",
        "headers": {"retry-after": {"schema": {"type": "integer"}}},
        "content": {"text/plain": {"schema": TEXT}},
    },
    "refused": {
        "description": "Without what proves the sender: a signature, a token",
        "content": {"text/plain": {"schema": TEXT}, **_json(reference("Error"))},
    },
    "error": {"description": "What is wrong", "content": _json(reference("Error"))},
    "missing": {
        "description": _MISSING,
        "content": {**_json(reference("Error")), "text/plain": {}},
    },
    "registry": {
        "description": "In the words of Confluent's Schema Registry",
        "content": {"application/vnd.schemaregistry.v1+json": {"schema": {}}},
    },
}
