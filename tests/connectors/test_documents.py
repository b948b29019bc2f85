"""The documents that machines read say what the code does."""

import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import fastavro
import jsonschema_rs
import pytest

from connectors.board.present import as_json
from connectors.documents import DOCUMENTS, FOLDER, asyncapi, openapi, text
from connectors.registry import PROVIDERS
from schemas import codec, topics, versions
from schemas.topics import all_topics
from tests.connectors.board.samples import Make

SPECS = "@asyncapi/specs@6.11.1"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_document_that_is_kept_is_the_one_the_code_makes(name: str) -> None:
    kept = (FOLDER / f"{name}.json").read_text()
    assert kept == text(name, PROVIDERS), "run `make documents` and review the change"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_reference_leads_somewhere(name: str) -> None:
    document = DOCUMENTS[name](PROVIDERS)
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


def rows() -> dict[str, tuple[codec.Codec[Any], Any]]:
    """A sample of each record the board shows."""
    make = Make()
    return {
        "LinkStatus": (codec.LINK_STATUS, make.status()),
        "LinkEvent": (codec.LINK_EVENT, make.event("e1")),
        "Anomaly": (codec.ANOMALY, make.anomaly("a1")),
    }


@pytest.mark.parametrize("name", rows())
def test_a_row_is_as_the_document_says_and_nothing_else_is(name: str) -> None:
    shape, record = rows()[name]
    document = openapi.document(PROVIDERS)
    whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    valid = jsonschema_rs.validator_for(whole)
    shown = as_json(shape, record)
    assert [error.message for error in valid.iter_errors(shown)] == []
    for field in shown:
        assert not valid.is_valid({n: v for n, v in shown.items() if n != field}), field
        assert not valid.is_valid({**shown, field: [[]]}), field


def test_every_topic_is_a_channel_with_its_schema_and_its_retention() -> None:
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
        if topic.codec is None:
            assert "payload" not in message
        else:
            fastavro.parse_schema(message["payload"]["schema"])
            assert versions.derived_id(message["payload"]["schema"]) == topic.codec.id


def test_others_write_registrations_and_updates_and_read_what_is_public() -> None:
    operations = asyncapi.document(PROVIDERS)["operations"]
    written = {name for name, what in operations.items() if what["action"] == "receive"}
    assert written == {"write-links", "write-order-updates"}
    public = {f"read-{topic.name}" for topic in all_topics(PROVIDERS) if topic.public}
    assert operations.keys() - written == public
    assert f"read-{topics.ORDER_EVENTS.name}" not in public


@pytest.fixture(scope="module")
def asyncapi_schema(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The schema of AsyncAPI 3.0.0 itself, as its makers publish it on npm."""
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
def test_asyncapis_own_schema_holds(asyncapi_schema: Any) -> None:
    document = asyncapi.document(PROVIDERS)
    valid = jsonschema_rs.validator_for(asyncapi_schema)
    assert [error.message for error in valid.iter_errors(document)] == []
    document["channels"]["links"]["adress"] = "misspelt"
    assert not valid.is_valid(document)


def test_the_documents_come_with_the_package() -> None:
    assert {file.stem for file in Path(FOLDER).glob("*.json")} == DOCUMENTS.keys()
