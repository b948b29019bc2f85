"""Several accounts at one provider: their names, their settings, and where the names stand."""

import pytest

from connectors.http.server import Address
from connectors.kafka.cluster import Cluster
from connectors.lookup.jobs import LookupLimits
from connectors.lookup.process import LookupConfig
from connectors.providers.registry import PROVIDERS
from schemas.limits import CONNECTION_NAME_CHARACTERS
from streams import wiring
from streams.environment import BadSettings
from streams.settings import load
from tests.streams.test_settings import refusal
from tests.support.codecs import CODECS

LONGEST = "p" * CONNECTION_NAME_CHARACTERS


def set_variables(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(f"LINKSTATUS_{name}", text)


def test_each_account_has_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(
        monkeypatch,
        CONNECTIONS='{"ping_se": "ping", "truelayer_test": "truelayer"}',
        CONNECTIONS__PING_NO="ping",
        PING_SE__TENANT_ID="se",
        PING_SE__API_SECRET="s3cr3t",
        PING_SE__PATH_TOKEN="t0ken",
        PING_NO__TENANT_ID="no",
        TRUELAYER_TEST__ACCOUNT="external",
        LOOKUPS__PER_SECOND="7",
        PING_NO__LOOKUPS_PER_SECOND="0.5",
    )
    settings = load()
    providers = settings.existing_providers()
    assert {name: (one.name, one.kind) for name, one in providers.items()} == {
        "ping_se": ("ping_se", "ping"),
        "ping_no": ("ping_no", "ping"),
        "truelayer_test": ("truelayer_test", "truelayer"),
    }
    assert [one.config.tenant_id for one in (providers["ping_se"], providers["ping_no"])] == [
        "se",
        "no",
    ]
    assert [one.can_look_up() for one in providers.values()] == [True, False, False]
    assert providers["ping_no"].config.path_token is None
    assert wiring.rates(settings) == {"ping_se": 7, "ping_no": 0.5, "truelayer_test": 7}
    assert {topic.name for topic in wiring.topics(settings) if "." in topic.name} == {
        *("callbacks.ping_se", "callbacks.ping_no", "callbacks.truelayer_test"),
    }


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({"CONNECTIONS__PING": "ping"}, ("ping",)),
        ({"PING__TENANT_ID": "x", "CONNECTIONS__PING_SE": "ping"}, ("ping", "ping_se")),
        ({"PROVIDERS": "ping_se,peach", "CONNECTIONS__PING_SE": "ping"}, ("peach", "ping_se")),
        ({"PROVIDERS": "peach", "CONNECTIONS__PING_SE": "ping"}, ("peach",)),
    ],
)
def test_providers_restricts_which_connections_exist(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], names: tuple[str, ...]
) -> None:
    set_variables(monkeypatch, **variables)
    settings = load()
    assert tuple(settings.existing_providers()) == names
    assert set(names) <= settings.known_connections().keys()
    assert ("ping" in settings.known_connections()) == (
        settings.providers is None or "ping" in names
    )


@pytest.mark.parametrize("name", ["p", "p1", "ping_se", "a_1_b", LONGEST])
def test_name_may_be(name: str) -> None:
    assert tuple(load(connections={name: "ping"}).existing_providers()) == (name,)


@pytest.mark.parametrize(
    "name", ["", "1p", "Ping", "p-1", "p.1", "p:1", "p/1", "p__1", "_p", "p_", "pé", LONGEST + "p"]
)
def test_name_that_is_not_safe_in_url_topic_and_key_is_refused(name: str) -> None:
    with pytest.raises(BadSettings, match=r"^LINKSTATUS_CONNECTIONS: .* is no name") as raised:
        load(connections={name: "ping"})
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    "name",
    # Settings, attributes of their class, paths of the sandbox, a label of a metric.
    ["http", "brokers", "connections", "cluster", "model_fields", "control", "healthz", "unknown"],
)
def test_name_with_another_meaning_is_refused(name: str) -> None:
    with pytest.raises(BadSettings, match=f"^LINKSTATUS_CONNECTIONS: the name '{name}' is reserve"):
        load(connections={name: "ping"})


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"CONNECTIONS__PING_SE": "pong"},
            "CONNECTIONS: unknown provider 'pong' for 'ping_se'; name one of ping, peach, true",
        ),
        ({"CONNECTIONS__PING_SE": ""}, "CONNECTIONS: no provider for 'ping_se'; name one of"),
        ({"CONNECTIONS__PEACH": "ping"}, "CONNECTIONS: 'peach' is the name of another provider"),
        ({"CONNECTIONS": "ping_se"}, 'CONNECTIONS is not a JSON object; write it as {"name": "'),
        ({"CONNECTIONS": '{"p": "ping", "p": "peach"}'}, "CONNECTIONS has the name 'p' twice"),
        ({"CONNECTIONS__P__TENANT_ID": "x"}, "CONNECTIONS__P: must be text"),
        (
            {"PING_SE__TENANT_ID": "x"},
            "PING_SE__TENANT_ID is not a setting; the nearest name is LINKSTATUS_PING__TENANT_ID; "
            "LINKSTATUS_CONNECTIONS__PING_SE makes it an account",
        ),
        (
            {"CONNECTIONS__PING_SE": "ping", "PING_SE__CLIENT_ID": "x"},
            "PING_SE__CLIENT_ID is not a setting; the nearest name is",
        ),
        (
            {"CONNECTIONS__PING_SE": "ping", "PROVIDERS": "ping_no"},
            "PROVIDERS: unknown provider 'ping_no'; name some of ping, peach, truelayer, ipint, "
            "ping_se",
        ),
        (
            {"CONNECTIONS__PING_SE": "ping", "PING_SE__LOOKUPS_PER_SECOND": "inf"},
            "PING_SE__LOOKUPS_PER_SECOND: must be a finite number",
        ),
    ],
)
def test_wrong_connection_is_one_line(
    variables: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = refusal(monkeypatch, **variables)
    assert text.startswith(f"LINKSTATUS_{message}")
    assert len(text.splitlines()) == 1


def test_without_connections_each_provider_is_one() -> None:
    assert {n: one.name for n, one in load().existing_providers().items()} == {
        name: name for name in PROVIDERS
    }


def test_own_rate_limits_the_calls_of_its_account() -> None:
    limits = LookupLimits(per_second=20, unissued_per_minute=1, timeout=1)
    cluster, address = Cluster("127.0.0.1:1"), Address("127.0.0.1", 0)
    config = LookupConfig(cluster, CODECS, {}, address, limits, rates={"ping_no": 0.5})
    assert config.limits_of("ping_no").per_second == 0.5
    assert config.limits_of("ping").per_second == 20
