"""What a person sets going on the board, as OpenAPI has it: replays, cancelling, marks."""

from typing import Any, get_args

from connectors.cancel_api import Outcome
from connectors.documents.operations import answers, board, json_of, query
from connectors.documents.rows import Schema, reference
from connectors.documents.shapes import MAYBE_TEXT, TEXT, object_of

_MOMENT = "How long ago, such as 2h or 3d, or a time in RFC 3339"


def chosen() -> list[dict[str, Any]]:
    """What narrows dead letters."""
    return [
        query("provider", reference("Provider")),
        {**query("link", TEXT), "description": "The id of its link, with its provider"},
        {**query("reason", TEXT), "description": "A part of it, in any case"},
        query("stage", TEXT),
        *({**query(name, TEXT), "description": _MOMENT} for name in ("since", "until")),
        {**query("place", TEXT), "description": "partition/offset"},
    ]


def _count(what: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    answer = object_of({"count": {"type": "integer"}}, "count")
    return {"parameters": parameters, **board(what, answer, 422, 503)}


def counting() -> dict[str, Any]:
    what = "How many dead letters a replay with these words would publish; it does nothing"
    return _count(what, chosen())


def counting_aside() -> dict[str, Any]:
    what = "How many open dead letters these words would set aside; it does nothing"
    return _count(what, chosen())


def setting_aside() -> dict[str, Any]:
    what = "Sets open dead letters aside; without a word that narrows, all. Notices keep who did"
    words = {one["name"]: one["schema"] for one in chosen()}
    return _marked(what, {**words, "by": TEXT, "note": TEXT})


def taking_back() -> dict[str, Any]:
    what = "Takes back that a dead letter was set aside. Notices keep who did"
    return _marked(what, {"place": TEXT, "by": TEXT, "note": TEXT}, "place")


def replaying() -> dict[str, Any]:
    words = {one["name"]: one["schema"] for one in chosen()}
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
    done = {
        "200": {"description": "Done", "content": json_of(told)},
        "202": {"description": "Under way, at a limited rate", "content": json_of(told)},
    }
    return {
        "tags": ["board"],
        "summary": "Publishes dead letters once more; without a word that narrows, all of them",
        "security": [{"bearer": []}],
        "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": form}}},
        "responses": {**done, **answers(401, 403, 409, 422, 503)},
    }


def cancellable() -> dict[str, Any]:
    link = {"provider": reference("Provider"), "link_id": TEXT, "status": reference("Status")}
    answer = object_of({**link, "why_not": MAYBE_TEXT}, *link, "why_not")
    return board("Whether the link can be cancelled from here; it does nothing", answer, 404, 503)


def cancelling() -> dict[str, Any]:
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
            "200": {"description": done, "content": json_of(object_of(answer, *answer))},
            **answers(401, 403, 404, 409, 422, 503),
        },
    }


def noticed() -> list[dict[str, Any]]:
    """What narrows anomalies."""
    return [query("provider", reference("Provider")), query("kind", reference("AnomalyKind"))]


def _chosen_anomalies() -> list[dict[str, Any]]:
    until = {**query("until", TEXT), "description": _MOMENT}
    return [*noticed(), query("event_id", TEXT), until]


def counting_anomalies() -> dict[str, Any]:
    what = "How many open anomalies would be marked as done with these words; it does nothing"
    return _count(what, _chosen_anomalies())


def marking() -> dict[str, Any]:
    what = "Marks open anomalies as done; without a word that narrows, all. Notices keep who did"
    words = {one["name"]: one["schema"] for one in _chosen_anomalies()}
    return _marked(what, {**words, "by": TEXT, "note": TEXT})


def reopening() -> dict[str, Any]:
    what = "Marks an anomaly that is done as open again. Notices keep who did"
    return _marked(what, {"event_id": TEXT, "by": TEXT, "note": TEXT}, "event_id")


def _marked(summary: str, words: dict[str, Schema], *required: str) -> dict[str, Any]:
    form = object_of(words, *required)
    left = {"type": "integer", "description": "Those that are more than one call marks"}
    told = object_of({"marked": {"type": "integer"}, "left": left}, "marked", "left")
    return {
        "tags": ["board"],
        "summary": summary,
        "security": [{"bearer": []}],
        "requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": form}}},
        "responses": {
            "200": {"description": "Kept, with acks=all", "content": json_of(told)},
            **answers(401, 403, 422, 503),
        },
    }
