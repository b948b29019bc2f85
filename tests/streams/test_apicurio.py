"""With a real Schema Registry: ids are its own, and records outlive it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.kafka import Cluster
from schemas import codec
from schemas.topics import LINK_STATUS, LINKS, ORDER_UPDATES, SHARED
from streams import consume, schema_ids
from streams.schema_registry import Refused, Registry
from streams.settings import BadSettings, load
from tests.apicurio import Apicurio
from tests.confluent import deserialized, serialized
from tests.reading import read_all, write_all
from tests.schemas.test_evolution import field, gains, sample
from tests.streams.test_cli import Cli
from tests.system import System

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    registry = Apicurio(tmp_path_factory.mktemp("apicurio"))
    yield registry.url
    registry.stop()


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    codec.ask(None)
    codec.write_ids({})


def settings(kafka: Cluster, url: str | None) -> Any:
    return load(brokers=kafka.brokers, topic_prefix=kafka.prefix, schema_registry_url=url)


def registered(kafka: Cluster, url: str) -> dict[str, int]:
    with Registry(url) as registry:
        return registry.register(SHARED, kafka.prefix)


def number_of(data: bytes | None) -> int:
    return int.from_bytes((data or b"")[1:5], "big")


def test_the_registry_gives_the_ids_and_the_same_ones_again(kafka: Cluster, url: str) -> None:
    ids = registered(kafka, url)
    assert registered(kafka, url) == ids
    with Registry(url) as registry:
        found = registry.ids(SHARED, kafka.prefix)
    assert found == {
        topic.codec.name: ids[f"{kafka.prefix}{topic.name}-value"]
        for topic in SHARED
        if topic.codec
    }
    assert not set(ids.values()) & {one.fingerprint for one in codec.ALL}
    text = httpx.get(f"{url}/schemas/ids/{found['notice']}").json()["schema"]
    assert json.loads(text) == codec.NOTICE.json


def test_the_registry_refuses_what_would_break(kafka: Cluster, url: str) -> None:
    registered(kafka, url)
    schema = json.loads(codec.NOTICE.text)
    gains("channel")(schema)
    subject = f"{kafka.prefix}notices-value"
    answer = httpx.post(f"{url}/subjects/{subject}/versions", json={"schema": json.dumps(schema)})
    assert answer.status_code == 409, answer.text


def test_a_process_does_not_start_before_its_schemas_are_there(kafka: Cluster, url: str) -> None:
    with pytest.raises(BadSettings, match=r"SCHEMA_REGISTRY_URL: .*linkstatus schemas register"):
        schema_ids.prepare(settings(kafka, url))
    with Registry(url) as registry, pytest.raises(Refused):
        registry.ids((LINKS,), kafka.prefix)


def test_the_commands_register_write_and_read_with_its_ids(
    kafka: Cluster, url: str, tmp_path: Path
) -> None:
    here = {
        "LINKSTATUS_BROKERS": kafka.brokers,
        "LINKSTATUS_TOPIC_PREFIX": kafka.prefix,
        "LINKSTATUS_DATA_DIR": str(tmp_path),
    }
    there = Cli({**here, "LINKSTATUS_SCHEMA_REGISTRY_URL": url})
    (tmp_path / "links.csv").write_text("provider,link_id\nping,L1\n")
    early = there.run("links", "add", str(tmp_path / "links.csv"))
    assert "linkstatus schemas register" in str(early.exception)
    assert "linkstatus schemas register" in there.run("doctor").stdout
    printed = [line.split() for line in there.ok("schemas", "register").splitlines()]
    there.ok("links", "add", str(tmp_path / "links.csv"))
    every = f"all {len(codec.ALL)} schemas"
    assert re.search(rf"ok +registry +{every}", there.run("doctor").stdout)
    (link,) = read_all(kafka, LINKS.name)
    assert [str(number_of(link.value())), f"{kafka.prefix}links-value"] in printed
    codec.write_ids({})
    tail = Cli(here).ok("tail", "links", "--json", "--from-beginning", "--exit-at-end")
    assert json.loads(tail)["value"]["link_id"] == "L1"


def test_records_of_either_mode_are_read_in_the_other(kafka: Cluster, url: str) -> None:
    record = sample(codec.LINK_REGISTERED.json, {})
    ids = registered(kafka, url)
    schema_ids.prepare(settings(kafka, url))
    theirs = codec.LINK_REGISTERED.encode(record)
    assert number_of(theirs) == ids[f"{kafka.prefix}links-value"]
    schema_ids.prepare(settings(kafka, None))
    own = codec.LINK_REGISTERED.encode(record)
    assert number_of(own) == codec.LINK_REGISTERED.fingerprint
    write_all(kafka, LINKS.name, [(b"a", theirs), (b"b", own)])
    for mode in (url, None):
        schema_ids.prepare(settings(kafka, mode))
        found = [codec.LINK_REGISTERED.decode(one.value()) for one in read_all(kafka, LINKS.name)]
        assert found == [record, record]


def test_what_somebody_else_registered_is_read_also_when_the_registry_has_gone(
    kafka: Cluster, url: str
) -> None:
    registered(kafka, url)
    schema = json.loads(codec.ORDER_UPDATE.text)
    gains("clerk", default="nobody")(schema)
    field(schema, "reason").pop("doc")
    said = sample(codec.ORDER_UPDATE.json, {})
    value = serialized(
        url, kafka.topic(ORDER_UPDATES.name), json.dumps(schema), {**said, "clerk": "Ann"}
    )
    write_all(kafka, ORDER_UPDATES.name, [(b"ping:O1", value)])
    schema_ids.prepare(settings(kafka, url))
    assert codec.ORDER_UPDATE.decode(value) == said
    # Somebody who has only the cluster.
    with consume(ORDER_UPDATES, group="g", cluster=kafka, until_end=True) as records:
        assert [one.value for one in records] == [said]


def register_link(system: System, link: str, **said: Any) -> None:
    body = {"provider": "peach", "link_id": link, **said}
    assert httpx.post(f"{system.url}/links", json=body).status_code == 202


def test_a_whole_system_goes_on_when_the_registry_is_given_up(
    url: str, brokers: str, tmp_path: Path
) -> None:
    here = {"LINKSTATUS_BROKERS": brokers, "LINKSTATUS_PARTITIONS": "2"}
    with_registry = System(tmp_path, LINKSTATUS_SCHEMA_REGISTRY_URL=url, **here).start()
    try:
        register_link(with_registry, "before", order_id="O1")
        with_registry.see("/links/peach/before", lambda row: row["order_id"] == "O1")
        cluster = Cluster(with_registry.environment["LINKSTATUS_BROKERS"], with_registry.prefix)
        (row,) = read_all(cluster, LINK_STATUS.name)
        assert deserialized(url, [row])[0]["link_id"] == "before"
        # The board tells what its ids stand for, too, but it is no second registry.
        assert deserialized(f"{with_registry.url}/registry", [row])[0]["link_id"] == "before"
        assert httpx.get(f"{with_registry.url}/registry/subjects").status_code == 404
    finally:
        with_registry.stop()

    without = System(tmp_path, LINKSTATUS_TOPIC_PREFIX=with_registry.prefix, **here).start()
    try:
        register_link(without, "before", order_id="O1", links_in_order=2)
        without.see("/links/peach/before", lambda r: r["registration"]["links_in_order"] == 2)
        cluster = Cluster(without.environment["LINKSTATUS_BROKERS"], with_registry.prefix)
        rows = [one for one in read_all(cluster, LINK_STATUS.name) if one.key() == row.key()]
        assert (
            number_of(rows[-1].value()) == codec.LINK_STATUS.fingerprint != number_of(row.value())
        )
        # An ordinary consumer asks the board, and it knows the registry's ids too.
        events = read_all(cluster, "link-events")
        numbers = {number_of(one.value()) for one in events}
        assert numbers > {codec.LINK_EVENT.fingerprint}, [one.offset() for one in events]
        read = deserialized(f"{without.url}/registry", events)
        assert {one["link_id"] for one in read} == {"before"}
        dead = without.run("dead-letters", "list")
        assert re.fullmatch(r"\s*", dead.stdout), dead.stdout
    finally:
        without.stop()
