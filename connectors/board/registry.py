"""`/registry`: read-only schema look-ups in the words of Confluent's Schema Registry.

An id is told whoever gave it, also beside a registry of somebody else's: that one does not know the
ids of records that are older than it, and is not always there. Subjects are told only where it is
not: their ids are derived from the schema. A subject's versions are those that were released, and
last the one this release writes.
"""

from collections.abc import Callable, Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from schemas import codec, versions
from schemas.codec import SchemaAway
from schemas.topics import all_topics
from schemas.versions import Written

Endpoint = Callable[[Request], Any]


def ids() -> dict[str, Endpoint]:
    """What a record's schema id stands for, by path."""
    return {"/registry/schemas/ids/{id}": _schema}


def subjects(providers: Iterable[str], prefix: str) -> dict[str, Endpoint]:
    """The subjects by path, named as Confluent's TopicNameStrategy does."""
    found = {
        f"{prefix}{topic.name}-value": versions.distinct(topic.codec.name)
        for topic in all_topics(providers)
        if topic.codec is not None
    }
    return {
        "/registry/subjects": lambda _: _answer(sorted(found)),
        "/registry/subjects/{subject}/versions": lambda request: _versions(found, request),
        "/registry/subjects/{subject}/versions/{version}": lambda request: _version(found, request),
    }


def _answer(content: Any, status: int = 200) -> Response:
    return JSONResponse(content, status, media_type="application/vnd.schemaregistry.v1+json")


def _error(code: int, message: str) -> Response:
    return _answer({"error_code": code, "message": message}, code // 100)


def _schema(request: Request) -> Response:
    text = request.path_params["id"]
    try:
        known = codec.schema_of(int(text)) if text.isdecimal() and len(text) <= 10 else None
    except SchemaAway as error:
        return _error(50301, f"Schema {text}: {error}")
    if known is None:
        return _error(40403, f"Schema {text} not found")
    return _answer({"schema": known.text})


def _versions(subjects: dict[str, list[Written]], request: Request) -> Response:
    subject = request.path_params["subject"]
    if subject not in subjects:
        return _error(40401, f"Subject '{subject}' not found.")
    return _answer(list(range(1, len(subjects[subject]) + 1)))


def _version(subjects: dict[str, list[Written]], request: Request) -> Response:
    subject, version = request.path_params["subject"], request.path_params["version"]
    found = subjects.get(subject)
    if found is None:
        return _error(40401, f"Subject '{subject}' not found.")
    numbers = {str(number): number for number in range(1, len(found) + 1)}
    number = numbers.get(version, len(found) if version in ("latest", "-1") else None)
    if number is None:
        return _error(40402, f"Version {version} not found.")
    one = found[number - 1]
    return _answer(
        {"subject": subject, "version": number, "id": one.fingerprint, "schema": one.text}
    )
