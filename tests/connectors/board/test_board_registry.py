"""Schema look-ups in the words of Confluent's Schema Registry."""

import json

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from connectors.board import registry
from schemas import codec, versions


async def test_a_schema_is_found_by_the_id_its_records_carry(client: httpx.AsyncClient) -> None:
    for known in codec.ALL:
        answer = await client.get(f"/registry/schemas/ids/{known.id}")
        assert json.loads(answer.json()["schema"]) == known.json


async def test_subjects_are_named_after_topics(client: httpx.AsyncClient) -> None:
    subjects = (await client.get("/registry/subjects")).json()
    assert "link-status-value" in subjects
    assert "dead-letters-value" not in subjects
    assert subjects == sorted(subjects)


@pytest.mark.parametrize("version", ["1", "latest"])
async def test_a_subject_has_one_version(client: httpx.AsyncClient, version: str) -> None:
    path = "/registry/subjects/link-status-value/versions"
    assert (await client.get(path)).json() == [1]
    assert (await client.get(f"{path}/{version}")).json() == {
        "subject": "link-status-value",
        "version": 1,
        "id": codec.LINK_STATUS.id,
        "schema": codec.LINK_STATUS.text,
    }


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
async def test_what_is_not_there_has_confluent_s_code(
    client: httpx.AsyncClient, path: str, code: int
) -> None:
    answer = await client.get(f"/registry/{path}")
    assert answer.status_code == 404
    assert answer.json()["error_code"] == code


async def test_who_cannot_tell_says_so(
    client: httpx.AsyncClient, request: pytest.FixtureRequest
) -> None:
    def away(number: int) -> str | None:
        raise codec.SchemaAway("Kafka does not answer")

    codec.ask(away)
    request.addfinalizer(lambda: codec.ask(None))
    answer = await client.get("/registry/schemas/ids/1")
    assert answer.status_code == 503
    said = {"error_code": 50301, "message": "Schema 1: Kafka does not answer"}
    assert answer.json() == said


async def test_former_versions_of_a_subject_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    former = versions.written(codec.ANOMALY.text.replace('"detail"', '"details"'))
    both = [former, versions.written(codec.ANOMALY.text)]
    monkeypatch.setattr(versions, "distinct", lambda name: both)
    app = Starlette(routes=[Route(*one) for one in registry.subjects([], "").items()])
    asking = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=asking, base_url="http://board") as client:
        path = "/registry/subjects/anomalies-value/versions"
        assert (await client.get(path)).json() == [1, 2]
        found = [(await client.get(f"{path}/{number}")).json() for number in ("1", "2", "latest")]
    assert [one["id"] for one in found] == [one.fingerprint for one in (*both, both[1])]
    assert [one["version"] for one in found] == [1, 2, 2]
