"""`/registry` answers as Confluent's Schema Registry does."""

import json
from typing import Any

import httpx
import pytest

from connectors.http.api import create_api
from connectors.schema_registry import endpoints
from schemas import codec, versions
from schemas.codec import ANOMALY, LINK_STATUS, Codecs, SchemaAway
from tests.support.codecs import CODECS


async def get(path: str, codecs: Codecs = CODECS) -> tuple[int, Any]:
    """Return status and content of the answer."""
    app = create_api(endpoints.ids(codecs), endpoints.subjects(["ping"], ""))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://board") as client:
        answer = await client.get(f"/registry/{path}")
    return answer.status_code, answer.json()


@pytest.mark.parametrize("schema", codec.ALL, ids=lambda schema: schema.name)
async def test_id_returns_its_schema(schema: codec.Schema[Any]) -> None:
    status, content = await get(f"schemas/ids/{schema.fingerprint}")
    assert (status, json.loads(content["schema"])) == (200, schema.json)


async def test_subjects_are_the_avro_topics() -> None:
    _, subjects = await get("subjects")
    assert "link-status-value" in subjects
    assert not {"dead-letters-value", "callbacks.ping-value"} & set(subjects)
    assert subjects == sorted(subjects)


@pytest.mark.parametrize("version", ["1", "latest"])
async def test_subject_has_one_version(version: str) -> None:
    path = "subjects/link-status-value/versions"
    content = {
        "subject": "link-status-value",
        "version": 1,
        "id": LINK_STATUS.fingerprint,
        "schema": LINK_STATUS.text,
    }
    assert await get(path) == (200, [1])
    assert await get(f"{path}/{version}") == (200, content)


async def test_subject_keeps_its_earlier_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = versions.parse(ANOMALY.text.replace('"detail"', '"details"'))
    both = [earlier, versions.parse(ANOMALY.text)]
    monkeypatch.setattr(versions, "distinct", lambda name: both)
    path = "subjects/anomalies-value/versions"
    assert await get(path) == (200, [1, 2])
    for version, number in (("1", 1), ("2", 2), ("latest", 2)):
        _, content = await get(f"{path}/{version}")
        assert (content["version"], content["id"]) == (number, both[number - 1].fingerprint)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("schemas/ids/1", 40403),
        ("schemas/ids/x", 40403),
        ("schemas/ids/99999999999999", 40403),
        ("subjects/nothing/versions", 40401),
        ("subjects/nothing/versions/1", 40401),
        ("subjects/link-status-value/versions/2", 40402),
    ],
)
async def test_missing_resource_has_the_code_of_confluent(path: str, code: int) -> None:
    status, content = await get(path)
    assert (status, content["error_code"]) == (404, code)


async def test_failed_lookup_is_a_server_error() -> None:
    def away(number: int) -> str | None:
        raise SchemaAway("Kafka does not answer")

    content = {"error_code": 50301, "message": "Schema 1: Kafka does not answer"}
    assert await get("schemas/ids/1", Codecs(find=away)) == (503, content)
