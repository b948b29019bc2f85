"""`linkstatus doctor`: each check finds what is well and what is not, and names the setting."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from connectors.board import BoardConfig, application, open_board
from connectors.board.store import Store
from connectors.kafka import Cluster
from connectors.process import Address, probes
from connectors.registry import PROVIDERS
from connectors.sandbox.sites import sandbox_environment
from streams import checkup, credentials, settings, wiring
from streams.credentials import Clocks
from streams.finding import Finding
from tests.connectors.test_sandbox_host import Host, hosted
from tests.streams.cli.shell import Shell, serving
from tests.waiting import PATIENCE

NOWHERE = "http://127.0.0.1:9"


def found(check: str, **overrides: Any) -> list[Finding]:
    """What a check finds under these settings; no provider is asked."""
    changed = settings.load(**overrides)
    return [one for one in checkup.examine(changed, ask_providers=False) if one.check == check]


def states(findings: list[Finding]) -> list[str]:
    return [one.state for one in findings]


@pytest.fixture(autouse=True)
def quick(shell: Shell, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """The settings are the test's own, and what is away is given up soon; what is there is not."""
    there = "kafka" in request.fixturenames
    monkeypatch.setattr(checkup, "_BROKER_SECONDS", PATIENCE if there else 1.5)
    shell.set(EDGE_URL=NOWHERE)


def at(kafka: Cluster, **more: Any) -> dict[str, Any]:
    return {"brokers": kafka.brokers, "topic_prefix": kafka.prefix, "partitions": 2, **more}


@pytest.mark.kafka
def test_a_cluster_as_it_should_be(kafka: Cluster) -> None:
    (brokers,), (topics,) = found("brokers", **at(kafka)), found("topics", **at(kafka))
    assert (brokers.state, brokers.said) == ("ok", f"1 at {kafka.brokers}")
    assert (topics.state, topics.said) == ("ok", f"all {len(wiring.topics())} as they should be")


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("security", "blamed"),
    [
        ({"protocol": "SSL"}, "SECURITY__PROTOCOL"),
        (
            {
                "protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_username": "me",
                "sasl_password": "s3cret",
            },
            "SECURITY__SASL_PASSWORD",
        ),
    ],
    ids=["tls", "sasl"],
)
def test_how_the_brokers_are_reached_may_be_what_is_wrong(
    kafka: Cluster, security: dict[str, str], blamed: str
) -> None:
    (brokers,) = found("brokers", **at(kafka, security=security))
    assert brokers.state == "wrong"
    assert f"LINKSTATUS_{blamed}" in brokers.settings
    assert "s3cret" not in brokers.said
    assert found("topics", **at(kafka, security=security)) == []


@pytest.mark.kafka
def test_more_copies_than_brokers(kafka: Cluster) -> None:
    (brokers,) = found("brokers", **at(kafka, replication=3))
    assert "1 cannot keep 3 copies" in brokers.said
    assert "LINKSTATUS_REPLICATION" in brokers.settings


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
@pytest.mark.parametrize(("brokers", "said"), [("127.0.0.1:9", "refused"), (None, "none are set")])
def test_brokers_that_are_away_or_not_set(brokers: str | None, said: str, protocol: str) -> None:
    (finding,) = found("brokers", brokers=brokers, security={"protocol": protocol})
    assert (finding.state, finding.settings) == ("wrong", ("LINKSTATUS_BROKERS",))
    assert said in finding.said


@pytest.mark.kafka
def test_topics_that_may_not_be_looked_at(kafka: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> list[str]:
        raise KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED))

    monkeypatch.setattr("streams.admin.check", refuse)
    (finding,) = found("topics", **at(kafka))
    assert finding.state == "wrong"
    assert "LINKSTATUS_SECURITY__SASL_USERNAME" in finding.settings


@pytest.mark.kafka
def test_topics_that_are_missing_or_different(kafka: Cluster) -> None:
    (missing,) = found("topics", **at(kafka, topic_prefix="not.there."))
    assert missing.said.startswith(f"missing ({len(wiring.topics())}: not.there.callbacks.ping, ")
    assert "`linkstatus topics create`" in missing.said
    (different,) = found("topics", **at(kafka, partitions=3))
    assert f"partitions is 2, should be 3 ({len(wiring.topics())}: " in different.said
    assert "LINKSTATUS_PARTITIONS" in different.settings


def registry(subjects: Mapping[str, str]) -> Starlette:
    """As far as it is asked: does it have this schema under that subject?"""

    async def look_up(request: Request) -> Response:
        given = (await request.json())["schema"]
        known = subjects.get(request.path_params["subject"]) == given
        return JSONResponse({"id": 7}) if known else JSONResponse({"error_code": 40401}, 404)

    return Starlette(routes=[Route("/subjects/{subject}", look_up, methods=["POST"])])


def test_the_registry_s_schemas() -> None:
    assert states(found("registry")) == ["ok"]
    ours = {f"a.{t.name}-value": t.codec.text for t in wiring.topics() if t.codec}
    with serving(registry(ours)) as url:
        (good,) = found("registry", schema_registry_url=url, topic_prefix="a.")
        (prefix,) = found("registry", schema_registry_url=url)
    with serving(registry(ours | {"a.links-value": "{}"})) as other:
        (schema,) = found("registry", schema_registry_url=other, topic_prefix="a.")
    secret = url.replace("//", "//key:s3cret@")
    (away,) = found("registry", schema_registry_url=secret)
    assert "s3cret" not in away.said
    assert good == Finding("registry", "ok", f"all {len(ours)} schemas at {url}")
    for bad in (prefix, schema, away):
        assert bad.state == "wrong"
        assert "LINKSTATUS_SCHEMA_REGISTRY_URL" in bad.settings
    assert "a.links-value is not there as it is: run `linkstatus schemas register`" in schema.said
    assert "does not answer" in away.said


def test_the_database(tmp_path: Path) -> None:
    (new,) = found("database")
    assert (new.state, "at its start" in new.said) == ("note", True)
    with closing(Store(settings.load().database())):
        pass
    assert found("database")[0].said == "0 links"
    (tmp_path / "file").write_text("no database")
    for url in ("nonsense", f"sqlite:///{tmp_path}/file", "postgresql://u:s3cret@127.0.0.1:9/x"):
        (bad,) = found("database", database_url=url)
        assert (bad.state, bad.settings) == ("wrong", ("LINKSTATUS_DATABASE_URL",))
        assert "s3cret" not in bad.said


def test_the_data_folder(tmp_path: Path) -> None:
    (good,) = found("data folder", data_dir=tmp_path / "not" / "yet")
    assert (good.state, good.said) == ("ok", str(tmp_path / "not" / "yet"))
    (tmp_path / "file").touch()
    (bad,) = found("data folder", data_dir=tmp_path / "file" / "below")
    assert (bad.state, bad.settings) == ("wrong", ("LINKSTATUS_DATA_DIR",))


@pytest.mark.parametrize(
    ("host", "token", "state"),
    [("127.0.0.1", None, "ok"), ("0.0.0.0", None, "wrong"), ("0.0.0.0", "t0ken", "ok")],
)
def test_access(host: str, token: str | None, state: str) -> None:
    (finding,) = found("access", http={"host": host}, board={"token": token})
    assert finding.state == state
    assert "t0ken" not in finding.said
    assert ("LINKSTATUS_BOARD__TOKEN" in finding.settings) is (state == "wrong")


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (503, "wrong")])
def test_an_edge_that_runs(status: int, state: str) -> None:
    async def readyz(_: Request) -> Response:
        return PlainTextResponse("Kafka is away", status)

    with serving(Starlette(routes=[Route("/readyz", readyz)])) as url:
        (finding,) = found("edge", edge_url=url)
    assert finding.state == state
    assert status == 200 or "Kafka is away" in finding.said


@pytest.mark.parametrize(
    ("token", "state"), [("right", "ok"), ("guess", "wrong"), (None, "ok")], ids=str
)
def test_a_token_that_the_board_does_not_take_is_found(
    tmp_path: Path, token: str | None, state: str
) -> None:
    board = open_board(
        BoardConfig(
            Cluster("127.0.0.1:1"),
            tuple(PROVIDERS),
            f"sqlite:///{tmp_path / 'board.sqlite'}",
            Address("127.0.0.1", 0),
            "right",
        )
    )
    with closing(board.store), serving(application(board, probes(lambda: None))) as url:
        (finding,) = found("board", edge_url=url, board={"token": token})
    assert finding.state == state
    assert ("LINKSTATUS_BOARD__TOKEN" in finding.settings) is (state == "wrong")


def test_an_edge_and_a_board_at_one_address_are_asked_once() -> None:
    asked: list[Request] = []

    async def readyz(request: Request) -> Response:
        asked.append(request)
        return PlainTextResponse("Kafka is away", 503)

    with serving(Starlette(routes=[Route("/readyz", readyz)])) as url:
        (finding,) = found("board", edge_url=url)
    assert (finding.check, finding.state) == ("board", "wrong")
    assert "Kafka is away" in finding.said
    assert len(asked) == 1


def test_an_edge_that_does_not_run_is_no_fault() -> None:
    (finding,) = found("edge")
    assert (finding.state, finding.settings) == ("note", ("LINKSTATUS_EDGE_URL",))


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with hosted(tmp_path, NOWHERE) as host:
        yield host


async def asked(
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    changes: Mapping[str, str] | None = None,
    clocks: Clocks | None = None,
) -> dict[str, list[Finding]]:
    """What is found of the providers, pointed at the simulated ones, by provider."""
    environment = sandbox_environment(host.config, PROVIDERS)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name, value in (changes or {}).items():
        monkeypatch.setenv(f"LINKSTATUS_{name}", value)
    findings = await credentials.examine(settings.load(), True, clocks or Clocks())
    return {name: [one for one in findings if one.check == name] for name in PROVIDERS}


async def test_credentials_that_the_providers_take(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = {f"{name.upper()}__PATH_TOKEN": "t0ken" for name in PROVIDERS}
    findings = await asked(host, monkeypatch, tokens)
    for name in PROVIDERS:
        (one,) = findings[name]
        assert (one.state, one.said) == ("ok", one.said)
        assert one.said.startswith(host.config.base_url)


WRONG = {
    "PING__API_SECRET": "s3cret",
    "PEACH__CLIENT_SECRET": "s3cret",
    "TRUELAYER__CLIENT_SECRET": "s3cret",
    "IPINT__API_KEY": "s3cret",
}


async def test_credentials_that_they_refuse(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    findings = await asked(host, monkeypatch, WRONG)
    for setting in WRONG:
        one = findings[setting.partition("__")[0].lower()][0]
        assert one.state == "wrong", one
        assert "refuses the credentials" in one.said
        assert f"LINKSTATUS_{setting}" in one.settings
        assert "s3cret" not in one.said


async def test_apis_that_are_away_or_down(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    await host.control("down", {"provider": "ping", "seconds": 60})
    urls = {"PEACH__LINKS_URL": NOWHERE, "IPINT__API_URL": NOWHERE, "TRUELAYER__JKU": NOWHERE}
    findings = await asked(host, monkeypatch, urls)
    assert "answered 503" in findings["ping"][0].said
    assert "LINKSTATUS_PEACH__LINKS_URL" in findings["peach"][0].settings
    assert "LINKSTATUS_IPINT__API_URL" in findings["ipint"][0].settings
    keys, api = findings["truelayer"]
    assert (keys.state, keys.settings) == ("wrong", ("LINKSTATUS_TRUELAYER__JKU",))
    assert api.state == "ok"


async def test_a_key_set_without_keys(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    jku = f"{host.config.base_url}/healthz"
    findings = await asked(host, monkeypatch, {"TRUELAYER__JKU": jku})
    assert "answers 200, without keys" in findings["truelayer"][0].said


async def test_callbacks_that_anybody_could_send_are_worth_a_note(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = await asked(host, monkeypatch)
    noted = {name for name in PROVIDERS for one in findings[name] if one.state == "note"}
    assert noted == {"ping", "ipint"}
    assert findings["ping"][1].settings == ("LINKSTATUS_PING__PATH_TOKEN",)


@pytest.mark.parametrize(
    ("given", "state", "named"),
    [
        ({}, "note", {"CLIENT_ID", "CLIENT_SECRET", "MERCHANT_ID"}),
        ({"client_id": "me"}, "wrong", {"CLIENT_SECRET", "MERCHANT_ID"}),
        ({"client_id": "me", "client_secret": "s", "merchant_id": ""}, "wrong", {"MERCHANT_ID"}),
    ],
)
def test_credentials_that_are_missing_are_named(
    given: dict[str, str], state: str, named: set[str]
) -> None:
    finding = found("peach", peach=given)[0]
    assert finding.state == state
    assert set(finding.settings) == {f"LINKSTATUS_PEACH__{name}" for name in named}


def answer(when: float | str, host: str = "api.truelayer.com") -> httpx.Response:
    date = when if isinstance(when, str) else formatdate(when, usegmt=True)
    return httpx.Response(
        200, headers={"date": date}, request=httpx.Request("GET", f"https://{host}/x")
    )


@pytest.mark.parametrize(
    ("ahead", "state", "said"),
    [
        (0.0, "ok", "right to 5 s, by 3 answers"),
        (4.0, "ok", "right to 5 s"),
        (90.0, "wrong", "90 s ahead of those that answered; set it by NTP"),
        (-7200.0, "wrong", "7200 s behind those that answered"),
    ],
)
def test_the_clock_is_held_against_the_providers(
    monkeypatch: pytest.MonkeyPatch, ahead: float, state: str, said: str
) -> None:
    true = 1_800_000_000.0
    monkeypatch.setattr(credentials, "now", lambda: true + 0.5 + ahead)
    clocks = Clocks()
    for one in (answer(true), answer(true - 3600), answer(true), answer("no date")):
        clocks.read(one)
    clocks.read(answer(0.0, "127.0.0.1"))  # has the same clock as we
    finding = clocks.finding()
    assert finding.state == state
    assert said in finding.said


async def test_the_clock_is_compared_while_the_providers_are_asked(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "is_loopback", lambda _: False)
    clocks = Clocks()
    await asked(host, monkeypatch, clocks=clocks)
    assert clocks.finding().state == "ok"
    monkeypatch.setattr(credentials, "now", lambda: 0.0)
    clocks = Clocks()
    await asked(host, monkeypatch, clocks=clocks)
    assert clocks.finding().state == "wrong"


def test_a_clock_compared_with_nothing_is_a_note() -> None:
    assert Clocks().finding().state == "note"


def test_people_and_programs_are_told(shell: Shell) -> None:
    shell.set(BROKERS="127.0.0.1:9", PEACH__CLIENT_ID="me")
    ran = shell.run("doctor", "--offline")
    assert ran.code == 1
    assert "linkstatus: 2 of " in ran.err
    rows = [line.split() for line in ran.out.splitlines()]
    assert ["set", "LINKSTATUS_BROKERS"] in rows
    assert max(map(len, ran.out.splitlines())) <= 80
    ran = shell.run("doctor", "--offline", "--json")
    assert ran.code == 1
    said = json.loads(ran.out)
    assert said["well"] is False
    wrong = {one["check"]: one["settings"] for one in said["checks"] if one["state"] == "wrong"}
    assert wrong["brokers"] == ["LINKSTATUS_BROKERS"]
    assert set(wrong) == {"brokers", "peach"}


@pytest.mark.kafka
def test_all_is_well(shell: Shell, kafka: Cluster) -> None:
    shell.set(BROKERS=kafka.brokers, TOPIC_PREFIX=kafka.prefix, PARTITIONS="2")
    assert json.loads(shell.ok("doctor", "--json"))["well"] is True
