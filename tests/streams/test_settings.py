"""Settings are checked as a whole, before any client uses them."""

from pathlib import Path

import pytest

from connectors.http.protocol import HttpLimits
from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from streams import environment, kafka_settings, wiring
from streams.environment import BadSettings
from streams.kafka_settings import KafkaSettings
from streams.settings import load

SASL = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u", "sasl_password": "s3cr3t"}


@pytest.mark.parametrize(
    ("security", "message"),
    [
        (
            {"protocol": "SASL_SSL"},
            "SASL_MECHANISM, LINKSTATUS_SECURITY__SASL_USERNAME, .* not set",
        ),
        ({"protocol": "SASL_PLAINTEXT", **SASL, "sasl_password": None}, "SASL_PASSWORD not set"),
        ({**SASL}, "SASL_PASSWORD is set, but LINKSTATUS_SECURITY__PROTOCOL is PLAINTEXT"),
        ({"protocol": "SSL", **SASL}, "is set, but LINKSTATUS_SECURITY__PROTOCOL is SSL"),
        ({"ssl_ca": __file__}, "SSL_CA is set, but LINKSTATUS_SECURITY__PROTOCOL is PLAINTEXT"),
        ({"protocol": "SSL", "ssl_ca": "/no/such"}, "SECURITY__SSL_CA: .*not point to a file"),
        ({"protocol": "SSL", "ssl_certificate": __file__}, "SSL_KEY not set: a certificate and"),
        ({"protocol": "SASL"}, "LINKSTATUS_SECURITY__PROTOCOL: is not one of"),
        (
            {"sasl_pasword": "s3cr3t"},
            "SASL_PASWORD is not a setting; the nearest name is LINKSTATUS_SECURITY__SASL_PASSWORD",
        ),
    ],
)
def test_wrong_security_setting_is_named(security: dict[str, str | None], message: str) -> None:
    with pytest.raises(BadSettings, match=message) as raised:
        load(brokers="k:9092", security=security)
    assert "s3cr3t" not in str(raised.value)


def test_security_reaches_the_clients_and_no_log() -> None:
    settings = load(
        brokers="k:9092",
        security={"protocol": "SASL_SSL", "ssl_ca": __file__, **SASL},
    )
    assert settings.cluster().librdkafka() == {
        "bootstrap.servers": "k:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": "s3cr3t",
        "ssl.ca.location": __file__,
    }
    assert "s3cr3t" not in repr(settings) + repr(settings.cluster())
    assert settings.security.environment()["LINKSTATUS_SECURITY__SASL_PASSWORD"] == "s3cr3t"


def test_overrides_win_over_environment_then_defaults_then_env_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("PARTITIONS", "REPLICATION", "HTTP__PORT", "HTTP__HOST")
    Path(".env").write_text("".join(f"LINKSTATUS_{name}=1\n" for name in names))
    monkeypatch.setenv("LINKSTATUS_PARTITIONS", "2")
    monkeypatch.setenv("LINKSTATUS_REPLICATION", "2")
    defaults = {"LINKSTATUS_REPLICATION": "3", "LINKSTATUS_HTTP__PORT": "3"}
    settings = load(defaults, partitions=4)
    assert (settings.partitions, settings.replication) == (4, 2)
    assert (settings.http.port, settings.http.host) == (3, "1")


def refusal(monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    for name, text in variables.items():
        monkeypatch.setenv(f"LINKSTATUS_{name}", text)
    with pytest.raises(BadSettings) as raised:
        load()
    return str(raised.value)


@pytest.mark.parametrize(
    ("variable", "text", "error"),
    [
        ("PEACH__WEBHOOK_SECRETS", "[s3cr3t", "PEACH__WEBHOOK_SECRETS is not a list; separate"),
        ("PEACH__WEBHOOK_SECRETS", "[1]", "PEACH__WEBHOOK_SECRETS: must be text"),
        ("PING__SIGNING_KEYS", '["s3cr3t"', "PING__SIGNING_KEYS is not a list; separate"),
        ("BOARD", "s3cr3t", 'BOARD is not a JSON object; write it as {"name": "value"}'),
        ("BOARD", "[]", "BOARD is not a JSON object"),
        ("BOARD", '{"tokn": "s3cr3t"}', "BOARD__TOKN is not a setting; the nearest name is LINK"),
        ("BOARD__PROCESSES", "s3cr3t", "BOARD__PROCESSES is not a JSON object"),
        ("BOARD__PROCESSES__WORK", "s3cr3t", "BOARD__PROCESSES__WORK: must be a URL"),
        ("PEACH", "s3cr3t", "PEACH is not a JSON object"),
        ("NOTIFY__ENDPOINTS", "s3cr3t", "NOTIFY__ENDPOINTS is not a JSON object"),
        ("NOTIFY__ENDPOINTS", '{"a": 1}', "NOTIFY__ENDPOINTS__A is not a JSON object"),
        ("NOTIFY__ENDPOINTS__A", "s3cr3t", "NOTIFY__ENDPOINTS__A is not a JSON object"),
        ("SETTLE", "s3cr3t", "SETTLE: must be true or false"),
        ("DATABASE_URL__X", "s3cr3t", "DATABASE_URL__X is not a setting"),
        ("STALL_SECONDS", "inf", "STALL_SECONDS: must be a finite number"),
        ("HTTP__HEAD_SECONDS", "inf", "HTTP__HEAD_SECONDS: must be a finite number"),
    ],
)
def test_f1_wrong_form_is_one_line_that_names_the_variable(
    variable: str, text: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal(monkeypatch, **{variable: text})
    assert message.startswith(f"LINKSTATUS_{error}")
    assert ("s3cr3t" in message, len(message.splitlines())) == (False, 1)


@pytest.mark.parametrize("text", ["one, two", "one,two,", '["one", "two"]', ' ["one","two"]'])
def test_f1_list_is_written_with_commas_or_as_json(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LINKSTATUS_PEACH__WEBHOOK_SECRETS", text)
    monkeypatch.setenv("LINKSTATUS_PEACH__WEBHOOK_URL", "https://x.example")
    secrets = load().provider_config("peach").webhook_secrets  # type: ignore[attr-defined]
    assert [secret.get_secret_value() for secret in secrets] == ["one", "two"]


def test_f1_section_and_map_take_json_and_single_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKSTATUS_HTTP", '{"host": "h", "port": 1}')
    monkeypatch.setenv("LINKSTATUS_HTTP__PORT", "2")
    monkeypatch.setenv("LINKSTATUS_BOARD__PROCESSES", '{"work": "http://w", "board": "http://b"}')
    monkeypatch.setenv("LINKSTATUS_BOARD__PROCESSES__WORK", "http://x")
    settings = load()
    assert (settings.http.host, settings.http.port) == ("h", 2)
    assert {name: str(url) for name, url in settings.board.processes.items()} == {
        "work": "http://x/",
        "board": "http://b/",
    }


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("PARTITION", "PARTITIONS"),
        ("HTTP_PORT", "HTTP__PORT"),
        ("http__prot", "HTTP__PORT"),
        ("PEACH__WEBHOOK_SECRET", "PEACH__WEBHOOK_SECRETS"),
        ("BROKER__S", "BROKERS"),
        ("NOPE", ""),
    ],
)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_f2_unknown_setting_names_the_nearest(
    variable: str, nearest: str, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    texts = {variable: "4"}
    if place == "file":
        Path(".env").write_text(f"OTHER=1\nexport LINKSTATUS_{variable}=4\n")
        texts = {}
    assert refusal(monkeypatch, **texts).startswith(
        f"LINKSTATUS_{variable.upper()} is not a setting; the nearest name is LINKSTATUS_{nearest}"
    )


def test_f2_variables_of_kubernetes_and_of_the_contract_tests_are_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        *("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "RECEIVE_SERVICE_HOST"),
        *("PORT_8080_TCP", "PORT_8080_TCP_ADDR", "WORK_PORT_8080_UDP_PROTO"),
        "CONTRACT_PING_LINK",
    ):
        monkeypatch.setenv(f"LINKSTATUS_{name}", "x")
    for name in ("PORT", "RECEIVE_PORT"):
        monkeypatch.setenv(f"LINKSTATUS_{name}", "tcp://10.0.0.1:8080")
    assert load().partitions == 8


def test_f2_every_wrong_variable_is_named_and_a_file_that_is_no_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(refusal(monkeypatch, NOPE="1", BOARD="x", PARTITION="4").splitlines()) == 3
    Path(".env").write_bytes(b"LINKSTATUS_\xff")
    assert refusal(monkeypatch) == ".env is not UTF-8 text"


def test_limits_of_connections_are_settings() -> None:
    http = {"connections": 50, "head_seconds": 1, "body_seconds": 2, "idle_seconds": 120}
    assert load(http=http).address().limits == HttpLimits(50, 1.0, 2.0, 120.0)
    with pytest.raises(BadSettings, match="LINKSTATUS_HTTP__IDLE_SECONDS"):
        load(http={"idle_seconds": 0})


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, tuple(PROVIDERS)),
        ({"LINKSTATUS_PROVIDERS": "peach, ping"}, ("ping", "peach")),
        ({"LINKSTATUS_IPINT__API_KEY": "k"}, ("ipint",)),
        ({"LINKSTATUS_IPINT__API_KEY": "k", "LINKSTATUS_PROVIDERS": "ping"}, ("ping",)),
    ],
)
def test_d6_only_named_providers_exist(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], names: tuple[str, ...]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert tuple(settings.existing_providers()) == names
    topics = {topic.name for topic in wiring.topics(settings)}
    assert {t for t in topics if t.startswith("callbacks.")} == {f"callbacks.{n}" for n in names}


@pytest.mark.parametrize("names", ["pong", "", ","])
def test_d6_unknown_provider_stops_the_start(monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    monkeypatch.setenv("LINKSTATUS_PROVIDERS", names)
    with pytest.raises(BadSettings, match=r"LINKSTATUS_PROVIDERS: .*name some of ping, peach"):
        load()


def test_consumer_ignores_other_settings_and_names_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LINKSTATUS_BROKERS", "k:9092")
    monkeypatch.setenv("LINKSTATUS_TOPIC_PREFIX", "eu.")
    monkeypatch.setenv("LINKSTATUS_PING__API_SECRET", "s3cr3t")
    assert kafka_settings.load().cluster() == load().cluster() == Cluster("k:9092", "eu.")
    monkeypatch.setenv("LINKSTATUS_TOPIC_PREFX", "eu.")
    monkeypatch.setenv("LINKSTATUS_SECURITY__PROTOCOL", "TLS")
    with pytest.raises(BadSettings) as raised:
        kafka_settings.load()
    assert "PROTOCOL: is not one of" in str(raised.value)
    assert "PREFX is not a setting; the nearest name is LINKSTATUS_TOPIC" in str(raised.value)


def test_no_other_setting_looks_like_a_misspelled_one_of_a_consumer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LINKSTATUS_BROKERS", "k:9092")
    for name in environment.names(type(load())):
        if name.partition("__")[0].lower() not in KafkaSettings.model_fields:
            monkeypatch.setenv(f"LINKSTATUS_{name}", "x")
    assert kafka_settings.load().brokers == "k:9092"
