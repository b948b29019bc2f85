"""Registers the schemas in an external Schema Registry under the ids our records carry."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import httpx

from schemas.topics import Topic

_TIMEOUT_SECONDS = 10.0
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class Refused(Exception):
    """The registry did not take a schema; the message says which and why."""


def register(
    url: str,
    topics: Iterable[Topic[Any]],
    prefix: str,
    transport: httpx.BaseTransport | None = None,
) -> dict[str, int]:
    """Registers the value schema of each Avro topic that is not yet there; ids by subject.

    The API is Confluent's. Our ids come from the schemas themselves, so the subject is set to
    IMPORT, where the client names the id, for as long as it takes. Raises Refused, httpx.HTTPError.
    """
    wanted = {f"{prefix}{topic.name}-value": topic.codec for topic in topics if topic.codec}
    headers = {"content-type": _MEDIA_TYPE}
    with httpx.Client(
        base_url=url.rstrip("/"), timeout=_TIMEOUT_SECONDS, headers=headers, transport=transport
    ) as client:
        for subject, codec in wanted.items():
            if _registered(client, subject) != codec.id:
                _register(client, subject, codec.text, codec.id)
    return {subject: codec.id for subject, codec in wanted.items()}


def _registered(client: httpx.Client, subject: str) -> int | None:
    """The id of the subject's latest schema."""
    answer = client.get(f"/subjects/{subject}/versions/latest")
    if answer.status_code == HTTPStatus.NOT_FOUND:
        return None
    _check(answer, subject)
    number: int = answer.json()["id"]
    return number


def _register(client: httpx.Client, subject: str, schema: str, number: int) -> None:
    body = {"schema": schema, "schemaType": "AVRO", "id": number}
    mode = f"/mode/{subject}"
    _check(client.put(mode, params={"force": "true"}, json={"mode": "IMPORT"}), subject)
    try:
        _check(client.post(f"/subjects/{subject}/versions", json=body), subject)
    finally:
        _check(client.put(mode, json={"mode": "READWRITE"}), subject)


def _check(answer: httpx.Response, subject: str) -> None:
    if answer.is_error:
        raise Refused(f"{subject}: the registry answered {answer.status_code}: {answer.text[:500]}")
