"""What stands in several answers of the OpenAPI document, written by hand."""

from connectors.documents.rows import Schema, reference

TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}


def object_of(properties: dict[str, Schema], *required: str) -> Schema:
    """A JSON object; the required are named."""
    return {"type": "object", "required": list(required), "properties": properties}


def _mark(what: str) -> Schema:
    said = object_of({"by": TEXT, "at": TIME, "note": TEXT}, "by", "at", "note")
    return {"description": what, "anyOf": [{"type": "null"}, said]}


_WAIT = object_of(
    {
        "unknown_links": {"type": "integer", "minimum": 0},
        "open_links": {"type": "array", "items": TEXT},
        "payment": {"type": "boolean"},
    },
    *("unknown_links", "open_links", "payment"),
)

ORDER_DETAILS: dict[str, Schema] = {
    "close": {"anyOf": [{"type": "null"}, reference("OrderClose")]},
    "settlements": {"type": "array", "items": reference("Settlement")},
    "lapse": {"type": "object", "description": "When it came into each state"},
    "waits_for": {
        "description": "Why it is not closed: links announced that nobody has told of, links that "
        "have not ended, a payment where all have; null once the close is decided",
        "anyOf": [{"type": "null"}, _WAIT],
    },
}

DEAD_LETTER = object_of(
    {
        "topic": TEXT,
        "partition": {"type": "integer"},
        "offset": {"type": "integer"},
        "at": TIME,
        "key": MAYBE_TEXT,
        "reason": MAYBE_TEXT,
        "stage": MAYBE_TEXT,
        "origin": {**MAYBE_TEXT, "description": "Where it came from: topic/partition/offset"},
        "headers": {"type": "object", "additionalProperties": TEXT},
        "body": {
            "description": "As received; what is no text in base64. Secrets are masked.",
            **object_of({"size": {"type": "integer"}, "text": MAYBE_TEXT, "base64": TEXT}, "size"),
        },
        "replays": {"type": "array", "items": reference("Replay")},
        "aside": _mark("Who has set it aside, and when; null while nobody has"),
    },
    *("topic", "partition", "offset", "at", "key", "reason", "stage", "origin", "headers", "body"),
    *("replays", "aside"),
)

NOTICED: Schema = {
    "allOf": [
        reference("Anomaly"),
        object_of(
            {
                "done": _mark("Who marked it as done, and when; null while it is open"),
            },
            "done",
        ),
    ]
}

HEALTH = object_of(
    {
        "name": TEXT,
        "state": {"type": "string", "enum": ["ready", "not ready", "silent"]},
        "why": TEXT,
        "started_at": TIME,
        "waiting": {"type": "object", "additionalProperties": {"type": "integer"}},
        "held_back": {"type": "array", "items": TEXT},
    },
    *("name", "state", "why", "started_at", "waiting", "held_back"),
)

_COUNT: Schema = {"type": "integer", "minimum": 0}

_PROBLEM = object_of(
    {
        "word": TEXT,
        "what": TEXT,
        "cure": {**TEXT, "description": "What to do about it"},
        "href": {**TEXT, "description": "The page that leads there"},
        "grave": {"type": "boolean", "description": "Whether it cannot wait"},
        "detail": TEXT,
        "last_at": TIME,
    },
    *("word", "what", "cure", "href", "grave", "detail", "last_at"),
)

NOW = object_of(
    {
        "problems": {"type": "array", "items": _PROBLEM, "description": "The gravest first"},
        "providers": {
            "type": "object",
            "additionalProperties": object_of(
                {
                    "links": {
                        "type": "object",
                        "description": "How many, by status",
                        "additionalProperties": _COUNT,
                    },
                    "events_within_hour": _COUNT,
                    "last_event_at": {**TIME, "description": "The last of them"},
                },
                *("links", "events_within_hour", "last_event_at"),
            ),
        },
        "anomalies_open": _COUNT,
        "dead_letters_open": _COUNT,
    },
    *("problems", "providers", "anomalies_open", "dead_letters_open"),
)

FIELD_ERRORS = object_of(
    {
        "errors": {
            "type": "array",
            "minItems": 1,
            "items": object_of({"field": TEXT, "message": TEXT}, "field", "message"),
        }
    },
    "errors",
)
