"""OpenAPI 3.1 of the edge and the board. Paths and words stand here; what a body holds comes from
the records' schemas and from the form that judges registrations.
"""

from collections.abc import Collection
from typing import Any

from connectors.documents.acts import (
    cancellable,
    cancelling,
    chosen,
    counting,
    counting_anomalies,
    counting_aside,
    marking,
    noticed,
    reopening,
    replaying,
    setting_aside,
    taking_back,
)
from connectors.documents.operations import answers, board, json_of, query, response
from connectors.documents.rows import Schema, components, reference
from connectors.documents.shapes import (
    DEAD_LETTER,
    FIELD_ERRORS,
    HEALTH,
    NOTICED,
    NOW,
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
_WHERE: dict[str, Schema] = {
    name: {"type": "integer", "minimum": 0} for name in ("partition", "offset")
}
_PART: Schema = {"type": "string", "minLength": 1}


def document(providers: Collection[str]) -> dict[str, Any]:
    """The OpenAPI document of an installation with these providers."""
    rows = components([*_ROWS, codec.SETTLEMENT, codec.ANOMALY, codec.NOTICE, codec.REPLAY])
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
                "NewLink": _new_link(),
                "DeadLetter": DEAD_LETTER,
                "NoticedAnomaly": NOTICED,
                "Error": object_of({"error": TEXT}, "error"),
                "FieldErrors": FIELD_ERRORS,
                **rows,
            },
        },
    }


def _paths() -> dict[str, dict[str, Any]]:
    """Operations by path and method."""
    more = _listing(timeline="LinkEvent", anomaly_details="NoticedAnomaly", deeds="Notice")
    link = [reference("LinkStatus"), more]
    subject = "/registry/subjects/{subject}/versions"
    return {
        "/": {"get": board("What flows now, and what needs somebody", NOW, 503)},
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
                query("provider", reference("Provider")),
                query("status", reference("Status")),
                query("order_id", TEXT),
            ),
        },
        "/links/{provider}/{link_id}": {
            "get": board("A link's status with its timeline", {"allOf": link}, 404, 503)
        },
        "/links/{provider}/{link_id}/cancel": {"get": cancellable(), "post": cancelling()},
        "/orders": {
            "get": _page(
                "The orders, newest first",
                "orders",
                "OrderStatus",
                query("provider", reference("Provider")),
                query("state", reference("OrderState")),
            )
        },
        "/orders/{provider}/{order_id}": {
            "get": board("An order with its close and settlement", reference("Order"), 404, 503)
        },
        "/anomalies": {
            "get": _page(
                "What a person should see, newest first",
                "anomalies",
                "NoticedAnomaly",
                *noticed(),
                query("show", {"type": "string", "enum": ["open", "all"]}),
            )
        },
        "/anomalies/done": {"get": counting_anomalies(), "post": marking()},
        "/anomalies/open": {"post": reopening()},
        "/notices": {
            "get": _page(
                "What says nothing of a link's status, and what people did here, newest first",
                "notices",
                "Notice",
                query("provider", reference("Provider")),
            )
        },
        "/dead-letters": {
            "get": _page(
                "What no rule understands, newest first",
                "dead_letters",
                "DeadLetter",
                *chosen(),
                query("show", {"type": "string", "enum": ["open", "aside", "all"]}),
                most=100,
            )
        },
        "/dead-letters/{partition}/{offset}": {
            "get": board("One dead letter", reference("DeadLetter"), 404, 503)
        },
        "/dead-letters/replay": {"get": counting(), "post": replaying()},
        "/dead-letters/aside": {"get": counting_aside(), "post": setting_aside()},
        "/dead-letters/open": {"post": taking_back()},
        "/processes": {
            "get": board(
                "How each process is: those that BOARD__PROCESSES names",
                object_of({"processes": {"type": "array", "items": HEALTH}}, "processes"),
            )
        },
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
        "/registry/schemas/ids/{id}": {"get": _registry("The schema with an id", 404, 503)},
        subject: {"get": _registry("The versions of a subject", 404)},
        f"{subject}/{{version}}": {"get": _registry("A version of a subject", 404)},
    }


def _item(path: str, methods: dict[str, Any]) -> dict[str, Any]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return {"parameters": [_in_path(name) for name in names], **methods}


def _in_path(name: str) -> dict[str, Any]:
    schema = {"provider": reference("Provider"), **_WHERE}.get(name, _PART)
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _callback(summary: str) -> dict[str, Any]:
    kept = "Kept: the record is on Kafka with acks=all. The body is empty."
    return {
        "tags": ["edge"],
        "summary": summary,
        "requestBody": {"$ref": "#/components/requestBodies/callback"},
        "responses": {"200": {"description": kept}, **answers(401), **_texts(404, 413), **_LATER},
    }


def _registering() -> dict[str, Any]:
    taken = object_of({"provider": reference("Provider"), "link_id": TEXT}, "provider", "link_id")
    return {
        "tags": ["edge"],
        "summary": "Registers a link the merchant created",
        "security": [{}, {"bearer": []}],
        "requestBody": {"required": True, "content": json_of(reference("NewLink"))},
        "responses": {
            "202": {"description": "On Kafka with acks=all", "content": json_of(taken)},
            **answers(401),
            **_texts(413),
            "422": {
                "description": "The fields that are wrong",
                "content": json_of(reference("FieldErrors")),
            },
            **_LATER,
        },
    }


def _page(
    summary: str, name: str, row: str, *parameters: dict[str, Any], most: int = 500
) -> dict[str, Any]:
    limit = query("limit", {"type": "integer", "minimum": 1, "maximum": most})
    cursor = {**query("cursor", TEXT), "description": "`next` of an earlier answer"}
    page = _listing(**{name: row})
    page["required"].append("next")
    page["properties"]["next"] = {"type": ["string", "null"]}
    return {"parameters": [*parameters, limit, cursor], **board(summary, page, 422, 503)}


def _registry(summary: str, *statuses: int) -> dict[str, Any]:
    found = {str(status): response("registry") for status in (200, *statuses)}
    return {"tags": ["board"], "summary": summary, "responses": {**found, **answers(401, 421)}}


def _texts(*statuses: int) -> dict[str, Any]:
    return {str(status): response("text") for status in statuses}


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


def _new_link() -> Schema:
    schema = LinkForm.model_json_schema()
    schema["properties"]["provider"] = reference("Provider")
    # Its codes are those of ISO 4217; which of them have minor units is told by the answer.
    schema["properties"]["currency"]["anyOf"][0]["pattern"] = "^[A-Z]{3}$"
    return schema


_LATER = {"503": response("later")}

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
        "content": {"text/plain": {"schema": TEXT}, **json_of(reference("Error"))},
    },
    "error": {"description": "What is wrong", "content": json_of(reference("Error"))},
    "missing": {
        "description": _MISSING,
        "content": {**json_of(reference("Error")), "text/plain": {}},
    },
    "registry": {
        "description": "In the words of Confluent's Schema Registry",
        "content": {"application/vnd.schemaregistry.v1+json": {"schema": {}}},
    },
}
