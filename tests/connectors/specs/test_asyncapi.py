"""The AsyncAPI document says what the code does."""

import json
import shutil
import subprocess
import tarfile
from typing import Any

import fastavro
import jsonschema_rs
import pytest

from connectors.providers.registry import PROVIDERS
from connectors.specs import asyncapi
from schemas import topics, versions
from schemas.topics import all_topics

SPECS = "@asyncapi/specs@6.11.1"


def test_file_is_what_the_code_writes() -> None:
    assert asyncapi.FILE.read_text() == asyncapi.text(PROVIDERS), "run `make documents`"


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi.document(PROVIDERS)
    found = list(references(document))
    assert found
    for reference in found:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [found for each in part for found in references(each)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [found for each in part.values() for found in references(each)]


def test_every_topic_is_a_channel_with_schema_and_retention() -> None:
    document = asyncapi.document(PROVIDERS)
    every = {topic.name: topic for topic in all_topics(PROVIDERS)}
    assert document["channels"].keys() == every.keys()
    for name, topic in every.items():
        channel = document["channels"][name]
        kept = channel["bindings"]["kafka"]["topicConfiguration"]
        assert kept.get("retention.ms") == topic.keep_ms
        message = document["components"]["messages"][
            channel["messages"]["record"]["$ref"].rpartition("/")[2]
        ]
        if topic.schema is None:
            assert "payload" not in message
        else:
            fastavro.parse_schema(message["payload"]["schema"])
            assert versions.derived_id(message["payload"]["schema"]) == topic.schema.fingerprint


def test_other_services_write_two_topics_and_read_the_public_ones() -> None:
    operations = asyncapi.document(PROVIDERS)["operations"]
    written = {name for name, what in operations.items() if what["action"] == "receive"}
    assert written == {"write-links", "write-order-updates"}
    public = {f"read-{topic.name}" for topic in all_topics(PROVIDERS) if topic.public}
    assert operations.keys() - written == public
    assert f"read-{topics.ORDER_EVENTS.name}" not in public


@pytest.fixture(scope="module")
def asyncapi_schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The schema of AsyncAPI 3.0.0, as published on npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here to fetch the schema of AsyncAPI with")
    folder = tmp_path_factory.mktemp("asyncapi")
    command = [npm, "pack", "--silent", SPECS]
    try:
        packed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not fetch {SPECS} within a minute")
    if packed.returncode != 0:
        pytest.skip(f"npm could not fetch {SPECS}: {packed.stderr[-300:]}")
    with tarfile.open(folder / packed.stdout.strip()) as tar:
        file = tar.extractfile("package/schemas/3.0.0-without-$id.json")
        assert file is not None
        return json.load(file)


@pytest.mark.slow
def test_document_fits_the_schema_of_asyncapi(asyncapi_schema: Any) -> None:
    document = asyncapi.document(PROVIDERS)
    valid = jsonschema_rs.validator_for(asyncapi_schema)
    assert [error.message for error in valid.iter_errors(document)] == []
    document["channels"]["links"]["adress"] = "misspelt"
    assert not valid.is_valid(document)
