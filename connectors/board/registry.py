"""`/registry`: read-only schema look-ups in the words of Confluent's Schema Registry.

There is one version of each subject, the one this release writes; ids are derived from the schema.
"""

from collections.abc import Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from schemas import codec
from schemas.topics import all_topics

_VERSION = 1
Endpoint = Callable[[Request], Any]


def endpoints(providers: Iterable[str], prefix: str) -> dict[str, Endpoint]:
    """The endpoints by path. Subjects are named as Confluent's TopicNameStrategy does."""
    subjects = {
        f"{prefix}{topic.name}-value": topic.codec
        for topic in all_topics(providers)
        if topic.codec is not None
    }
    return {
        "/registry/schemas/ids/{id}": _schema,
        "/registry/subjects": lambda _: _answer(sorted(subjects)),
        "/registry/subjects/{subject}/versions": lambda request: _versions(subjects, request),
        "/registry/subjects/{subject}/versions/{version}": lambda request: _version(
            subjects, request
        ),
    }


def _answer(content: Any, status: int = 200) -> Response:
    return JSONResponse(content, status, media_type="application/vnd.schemaregistry.v1+json")


def _error(code: int, message: str) -> Response:
    return _answer({"error_code": code, "message": message}, code // 100)


def _schema(request: Request) -> Response:
    text = request.path_params["id"]
    known = codec.by_id().get(int(text)) if text.isdecimal() and len(text) <= 10 else None
    if known is None:
        return _error(40403, f"Schema {text} not found")
    return _answer({"schema": known.text})


def _versions(subjects: dict[str, codec.Codec[Any]], request: Request) -> Response:
    subject = request.path_params["subject"]
    if subject not in subjects:
        return _error(40401, f"Subject '{subject}' not found.")
    return _answer([_VERSION])


def _version(subjects: dict[str, codec.Codec[Any]], request: Request) -> Response:
    subject, version = request.path_params["subject"], request.path_params["version"]
    found = subjects.get(subject)
    if found is None:
        return _error(40401, f"Subject '{subject}' not found.")
    if version not in ("latest", "-1", str(_VERSION)):
        return _error(40402, f"Version {version} not found.")
    return _answer({"subject": subject, "version": _VERSION, "id": found.id, "schema": found.text})
