"""`linkstatus doctor`: each check finds its problem and names the setting to change."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from connectors.board.database.store import Store
from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from connectors.sandbox.config import sandbox_environment
from connectors.schema_registry import client
from schemas.limits import RECORD_BYTES
from schemas.topics import all_topics
from streams import settings
from streams.admin import doctor, doctor_providers
from streams.admin.doctor_providers import Clocks
from streams.admin.finding import Finding
from tests.connectors.sandbox.sandboxes import Host, hosted
from tests.support.registry import FakeRegistry
from tests.support.serving import serving, serving_board
from tests.support.shell import Shell
from tests.support.waiting import PATIENCE, until_sync

ALL_TOPICS = all_topics(PROVIDERS)

NOWHERE = "http://127.0.0.1:9"


def findings(check: str, **overrides: Any) -> list[Finding]:
    """The findings of a check under these settings, without calls to providers."""
    changed = settings.load(**overrides)
    return [one for one in doctor.examine(changed, call_providers=False) if one.check == check]


def finding(check: str, **overrides: Any) -> Finding:
    (one,) = findings(check, **overrides)
    return one


@pytest.fixture(autouse=True)
def quick(shell: Shell, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Settings of the test's own; a short wait for missing brokers, a long one for running ones."""
    running = "kafka" in request.fixturenames
    monkeypatch.setattr(doctor, "_BROKER_SECONDS", PATIENCE if running else 0.5)
    shell.set(EDGE_URL=NOWHERE)


def at(kafka: Cluster, **more: Any) -> dict[str, Any]:
    return {"brokers": kafka.brokers, "topic_prefix": kafka.prefix, "partitions": 2, **more}


SASL = {"protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "sasl_username": "me"}


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("security", "setting"),
    [
        ({"protocol": "SSL"}, "SECURITY__PROTOCOL"),
        ({**SASL, "sasl_password": "s3cret"}, "SECURITY__SASL_PASSWORD"),
    ],
    ids=["tls", "sasl"],
)
def test_wrong_security_settings_are_named(
    kafka: Cluster, security: dict[str, str], setting: str
) -> None:
    brokers = finding("brokers", **at(kafka, security=security))
    assert brokers.state == "wrong"
    assert f"LINKSTATUS_{setting}" in brokers.settings
    assert "s3cret" not in brokers.message
    assert findings("topics", **at(kafka, security=security)) == []


@pytest.mark.kafka
def test_replication_above_the_number_of_brokers_is_wrong(kafka: Cluster) -> None:
    brokers = finding("brokers", **at(kafka, replication=3))
    assert "1 cannot keep 3 copies" in brokers.message
    assert "LINKSTATUS_REPLICATION" in brokers.settings


NOTHING: dict[str, Any] = {}
SERVER = "postgresql://u:s3cret@127.0.0.1:9/x"
AWAY, TLS, OUTSIDE = "127.0.0.1:9", {"protocol": "SSL"}, {"host": "0.0.0.0"}
ME, SECRET = {"client_id": "me"}, {"client_secret": "s3cret", "merchant_id": ""}
# Check, settings, state, a part of the message, the settings to change. `file` is a file.
CASES: list[tuple[str, dict[str, Any], str, str, str]] = [
    ("brokers", NOTHING, "wrong", "not set", "BROKERS"),
    ("brokers", {"security": TLS}, "wrong", "not set", "BROKERS"),
    ("brokers", {"brokers": AWAY}, "wrong", "refused", "BROKERS"),
    ("brokers", {"brokers": AWAY, "security": TLS}, "wrong", "refused", "BROKERS"),
    ("data folder", {"data_dir": "not/yet"}, "ok", "not/yet", ""),
    ("data folder", {"data_dir": "file/below"}, "wrong", "cannot write into", "DATA_DIR"),
    ("data folder", {"data_dir": "/proc/self"}, "wrong", "cannot write into", "DATA_DIR"),
    ("database", NOTHING, "note", "the board migrates it", ""),
    ("database", {"database_url": "nonsense"}, "wrong", "", "DATABASE_URL"),
    ("database", {"database_url": "sqlite:///file"}, "wrong", "", "DATABASE_URL"),
    ("database", {"database_url": SERVER}, "wrong", "", "DATABASE_URL"),
    ("registry", NOTHING, "ok", "none", ""),
    ("access", NOTHING, "ok", "this machine only", ""),
    ("access", {"http": OUTSIDE}, "wrong", "without a token", "BOARD__TOKEN HTTP__HOST"),
    ("access", {"http": OUTSIDE, "board": {"token": "s3cret"}}, "ok", "with a token", ""),
    ("edge", NOTHING, "note", "not running", "EDGE_URL"),
    ("peach", NOTHING, "note", "", "PEACH__CLIENT_ID PEACH__CLIENT_SECRET PEACH__MERCHANT_ID"),
    ("peach", {"peach": ME}, "wrong", "more", "PEACH__CLIENT_SECRET PEACH__MERCHANT_ID"),
    ("peach", {"peach": ME | SECRET}, "wrong", "more", "PEACH__MERCHANT_ID"),
]


@pytest.mark.parametrize(("check", "overrides", "state", "message", "names"), CASES)
def test_settings_alone_decide(
    check: str, overrides: dict[str, Any], state: str, message: str, names: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no database")
    found = findings(check, **overrides)[0]
    assert found.state == state, found
    assert message in found.message
    assert "s3cret" not in found.message
    assert set(found.settings) == {f"LINKSTATUS_{name}" for name in names.split()}


@pytest.mark.kafka
def test_missing_right_to_read_topics_is_wrong(
    kafka: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> list[str]:
        raise KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))

    monkeypatch.setattr("streams.admin.topics.check", refuse)
    topics = finding("topics", **at(kafka))
    assert topics.state == "wrong"
    assert "LINKSTATUS_SECURITY__SASL_USERNAME" in topics.settings


@pytest.mark.kafka
def test_missing_and_different_topics_are_wrong(kafka: Cluster) -> None:
    missing = finding("topics", **at(kafka, topic_prefix="not.there."))
    assert missing.message.startswith(f"missing ({len(ALL_TOPICS)}: not.there.callbacks.ping, ")
    assert "`linkstatus topics create`" in missing.message
    different = finding("topics", **at(kafka, partitions=3))
    assert f"partitions is 2, should be 3 ({len(ALL_TOPICS)}: " in different.message
    assert different.settings == ("LINKSTATUS_PARTITIONS",)


@pytest.mark.kafka
def test_difference_that_no_setting_changes_names_none(kafka: Cluster) -> None:
    client = AdminClient(kafka.librdkafka())
    topic = kafka.topic("link-status")
    change = ConfigEntry("max.message.bytes", "20", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[change])
    client.incremental_alter_configs([resource])[resource].result(10)
    until_sync(lambda: finding("topics", **at(kafka)).state == "wrong", "the change")
    different = finding("topics", **at(kafka))
    assert f"max.message.bytes is 20, should be {RECORD_BYTES} (1: {topic})" in different.message
    assert different.settings == ()


def test_registry_must_have_our_schemas() -> None:
    with FakeRegistry() as registry:
        ids = client.register(registry.url, ALL_TOPICS, "a.")
        ours: dict[str, Any] = {"schema_registry_url": registry.url, "topic_prefix": "a."}
        good = finding("registry", **ours)
        prefix = finding("registry", schema_registry_url=registry.url)
        registry.subjects["a.links-value"] = ["{}"]
        schema = finding("registry", **ours)
    away = finding("registry", schema_registry_url=registry.url.replace("//", "//key:s3cret@"))
    assert "s3cret" not in away.message
    number = len(set(ids.values()))
    assert good == Finding("registry", "ok", f"all {number} schemas at {registry.url}")
    for bad in (prefix, schema, away):
        assert bad.state == "wrong"
        assert "LINKSTATUS_SCHEMA_REGISTRY_URL" in bad.settings
    assert (
        "a.links-value does not have this release's schema: run `linkstatus schemas register`"
        in schema.message
    )
    assert "does not answer" in away.message


def test_database_of_this_release_is_ok() -> None:
    with closing(Store(settings.load().database())):
        pass
    assert finding("database").message == "0 links"


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (503, "wrong")])
def test_edge_and_board_at_one_address_have_their_own_readiness(status: int, state: str) -> None:
    answers = {
        "/readyz": PlainTextResponse("ready"),
        "/readyz/board": PlainTextResponse("the database is away", status),
        "/anomalies/reopen": PlainTextResponse("", 422),
    }

    async def answer(request: Request) -> Response:
        return answers[request.url.path]

    routes = [Route(path, answer, methods=["GET", "POST"]) for path in answers]
    with serving(Starlette(routes=routes)) as url:
        changed = settings.load(edge_url=url)
        checks = {one.check: one for one in doctor.examine(changed, call_providers=False)}
    assert (checks["edge"].state, checks["board"].state) == ("ok", state)
    # Its address is right, or it would not answer.
    assert checks["board"].settings == ()
    assert status == 200 or "the database is away" in checks["board"].message


@pytest.mark.parametrize(
    ("token", "state"), [("right", "ok"), ("guess", "wrong"), (None, "ok")], ids=str
)
def test_board_with_another_token_is_wrong(tmp_path: Path, token: str | None, state: str) -> None:
    with serving_board(tmp_path, "right") as (url, _):
        board = finding("board", edge_url=url, board={"token": token})
    assert board.state == state
    assert ("LINKSTATUS_BOARD__TOKEN" in board.settings) is (state == "wrong")


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with hosted(tmp_path, NOWHERE) as host:
        yield host


async def examine(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    changes: Mapping[str, str] | None = None,
    clocks: Clocks | None = None,
) -> dict[str, list[Finding]]:
    """The findings by provider, with the simulated providers in place of the real ones."""
    for name, value in sandbox_environment(host.config, PROVIDERS).items():
        monkeypatch.setenv(name, value)
    for name, value in (changes or {}).items():
        monkeypatch.setenv(f"LINKSTATUS_{name}", value)
    found = await doctor_providers.examine(settings.load(), True, clocks or Clocks())
    return {name: [one for one in found if one.check == name] for name in PROVIDERS}


async def test_accepted_credentials_are_ok(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {f"{name.upper()}__PATH_TOKEN": "t0ken" for name in PROVIDERS}
    found = await examine(host, monkeypatch, tokens)
    for name in PROVIDERS:
        (one,) = found[name]
        assert one.state == "ok"
        assert one.message.startswith(host.config.base_url)


WRONG = {
    "PING__API_SECRET": "s3cret",
    "PEACH__CLIENT_SECRET": "s3cret",
    "TRUELAYER__CLIENT_SECRET": "s3cret",
    "IPINT__API_KEY": "s3cret",
}


async def test_refused_credentials_are_wrong(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await examine(host, monkeypatch, WRONG)
    for setting in WRONG:
        one = found[setting.partition("__")[0].lower()][0]
        assert one.state == "wrong", one
        assert "refuses the credentials" in one.message
        assert f"LINKSTATUS_{setting}" in one.settings
        assert "s3cret" not in one.message


async def test_api_that_is_down_names_its_url(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    await host.control("down", {"provider": "ping", "seconds": 60})
    urls = {"PEACH__LINKS_URL": NOWHERE, "IPINT__API_URL": NOWHERE, "TRUELAYER__JKU": NOWHERE}
    found = await examine(host, monkeypatch, urls)
    assert "answered 503" in found["ping"][0].message
    assert "LINKSTATUS_PEACH__LINKS_URL" in found["peach"][0].settings
    assert "LINKSTATUS_IPINT__API_URL" in found["ipint"][0].settings
    keys, api, _token = found["truelayer"]
    assert (keys.state, keys.settings) == ("wrong", ("LINKSTATUS_TRUELAYER__JKU",))
    assert api.state == "ok"
    found = await examine(host, monkeypatch, {"TRUELAYER__JKU": f"{host.config.base_url}/healthz"})
    assert "answers 200, without keys" in found["truelayer"][0].message


async def test_unsigned_callbacks_without_a_token_are_a_note(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await examine(host, monkeypatch)
    noted = {name for name in PROVIDERS for one in found[name] if one.state == "note"}
    assert noted == {"ping", "ipint", "truelayer"}
    assert found["ping"][1].settings == ("LINKSTATUS_PING__PATH_TOKEN",)


async def test_each_account_is_checked_and_no_two_are_the_same(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(host.config, connections={"ping": "ping", "ping_se": "ping"})
    secrets = {**config.secrets, "ping_se": {**config.secrets["ping"], "tenant_id": "other"}}
    names = ["ping", "ping_se"]
    monkeypatch.setenv("LINKSTATUS_CONNECTIONS__PING_SE", "ping")
    for name, value in sandbox_environment(replace(config, secrets=secrets), names).items():
        # The sandbox of this test has one account: both have its URL.
        monkeypatch.setenv(name, value.replace("/ping_se/", "/ping/"))
    found = await doctor_providers.examine(settings.load(), True, Clocks())
    assert [(one.check, one.state) for one in found] == [
        *[("accounts", "ok"), ("ping", "ok"), ("ping", "note")],
        *[("ping_se", "wrong"), ("ping_se", "note")],
    ]
    assert found[0].message == "ping_se at ping"
    assert "LINKSTATUS_PING_SE__API_SECRET" in found[3].settings
    monkeypatch.setenv("LINKSTATUS_PING_SE__TENANT_ID", config.secrets["ping"]["tenant_id"])
    same = (await doctor_providers.examine(settings.load(), False, Clocks()))[1]
    assert (same.check, same.state) == ("ping_se", "wrong")
    assert same.message == "has the same credentials as ping"


def answer(when: float | str, host: str = "api.truelayer.com") -> httpx.Response:
    date = when if isinstance(when, str) else formatdate(when, usegmt=True)
    return httpx.Response(
        200, headers={"date": date}, request=httpx.Request("GET", f"https://{host}/x")
    )


@pytest.mark.parametrize(
    ("ahead", "state", "message"),
    [
        (0.0, "ok", "right to 5 s, by 3 answers"),
        (4.0, "ok", "right to 5 s"),
        (90.0, "wrong", "90 s ahead of the servers that answered"),
        (-7200.0, "wrong", "7200 s behind the servers that answered"),
    ],
)
async def test_clock_is_compared_with_the_answers(ahead: float, state: str, message: str) -> None:
    true = 1_800_000_000.0
    clocks = Clocks(lambda: true + 0.5 + ahead)
    for one in (answer(true), answer(true - 3600), answer(true), answer("no date")):
        await clocks.read(one)
    await clocks.read(answer(0.0, "127.0.0.1"))  # a server on this machine has our clock
    clock = clocks.finding()
    assert clock.state == state
    assert message in clock.message


async def test_clock_is_compared_during_the_calls_to_providers(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_providers, "is_loopback", lambda _: False)
    for clocks, state in ((Clocks(), "ok"), (Clocks(lambda: 0.0), "wrong")):
        assert clocks.finding().state == "note", "without answers"
        await examine(host, monkeypatch, clocks=clocks)
        assert clocks.finding().state == state


def test_output_names_the_settings_to_change(shell: Shell) -> None:
    shell.set(BROKERS="127.0.0.1:9", PEACH__CLIENT_ID="me")
    ran = shell.run("doctor", "--offline")
    assert ran.code == 1
    assert "linkstatus: 2 of " in ran.err
    assert "Traceback" not in ran.err
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["set", "LINKSTATUS_BROKERS"] in rows
    assert max(map(len, ran.out.splitlines())) <= 80
    ran = shell.run("doctor", "--offline", "--json")
    assert ran.code == 1
    report = json.loads(ran.out)
    assert report["ok"] is False
    wrong = {one["check"]: one["settings"] for one in report["checks"] if one["state"] == "wrong"}
    assert wrong == {"brokers": ["LINKSTATUS_BROKERS"], "peach": wrong["peach"]}


@pytest.mark.kafka
def test_good_installation_is_ok(linkstatus: Shell, kafka: Cluster) -> None:
    report = linkstatus.json("doctor")
    messages = {one["check"]: one["message"] for one in report["checks"]}
    assert report["ok"] is True
    assert messages["brokers"] == f"1 at {kafka.brokers}"
    assert messages["topics"] == f"all {len(ALL_TOPICS)} as they should be"
    assert "wrong" not in linkstatus.ok("doctor")
