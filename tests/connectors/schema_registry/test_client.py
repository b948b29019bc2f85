"""The requests to a Schema Registry, and what follows from its answers."""

import logging
import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from connectors.schema_registry import client
from connectors.schema_registry.client import Away, Refused, without_password
from schemas.codec import LINK_EVENT, LINK_REGISTERED
from schemas.topics import ANOMALIES, DEAD_LETTERS, LINK_EVENTS, LINKS
from tests.support.registry import FakeRegistry

TOPICS = (LINKS, DEAD_LETTERS, LINK_EVENTS)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def test_register_makes_a_full_transitive_subject_per_avro_topic(registry: FakeRegistry) -> None:
    ids = {"test.links-value": 1, "test.link-events-value": 2}
    for _ in ("new", "known"):
        assert client.register(registry.url, TOPICS, "test.") == ids
    assert registry.schemas == [LINK_REGISTERED.text, LINK_EVENT.text]
    assert registry.compatibility == dict.fromkeys(registry.subjects, "FULL_TRANSITIVE")


def test_ids_and_schemas_are_those_of_the_registry(registry: FakeRegistry) -> None:
    client.register(registry.url, (LINK_EVENTS, LINKS), "")
    assert client.ids(registry.url, TOPICS, "") == {"link_event": 1, "link_registered": 2}
    assert client.text(registry.url, 1) == LINK_EVENT.text
    assert client.text(registry.url, 3) is None


def test_missing_schema_names_its_subject_and_the_command(registry: FakeRegistry) -> None:
    expected = r"^test\.anomalies-value .*linkstatus schemas register"
    with pytest.raises(Refused, match=expected):
        client.ids(registry.url, (ANOMALIES,), "test.")


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((409, "incompatible"), Refused, "test.links-value: the registry answered 409: .*incompat"),
        ((401, '{"message": "who?"}'), Refused, "test.links-value: the registry answered 401: who"),
        ((404, "no such page"), Refused, "test.links-value: the registry answered 404: .*no such"),
        ((503, "starting"), Away, "test.links-value: the registry answered 503: .*starting"),
        ((200, "{}"), Away, "the registry does not answer: its answer has no id"),
        ((200, "<html>"), Away, "the registry does not answer: "),
    ],
)
def test_errors_name_the_schema_and_the_reason(
    registry: FakeRegistry, answer: tuple[int, str], error: type[Refused], message: str
) -> None:
    registry.answer = answer
    with pytest.raises(Refused, match=message) as raised:
        client.register(registry.url, TOPICS, "test.")
    assert raised.type in (error, client._NotFound)


def test_unreachable_registry_is_away(registry: FakeRegistry) -> None:
    registry.stop()
    with pytest.raises(Away, match=r"does not answer: .*refused"):
        client.text(registry.url, 1)


def test_silent_registry_is_away_after_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Away, match=r"does not answer: .*timed out"):
            client.text(f"http://127.0.0.1:{port}", 1)


def test_credentials_in_its_address_are_sent_and_not_logged(
    registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    # Faust's worker prints the log of every library.
    caplog.set_level(logging.DEBUG)
    # Other tests in this process may have started one of ours, which makes it quiet.
    caplog.set_level(logging.DEBUG, "httpx2")
    url = registry.url.replace("//", "//key:s3%20cret@") + "/base"
    assert client.text(url, 1) is None
    assert registry.authorizations == ["Basic a2V5OnMzIGNyZXQ="]
    assert "schemas/ids/1" in caplog.text
    assert not re.search("s3|cret", caplog.text)
    assert without_password(url) == registry.url.replace("//", "//***@") + "/base"
    assert without_password("http://registry/a@b") == "http://registry/a@b"


def test_over_tls_the_authority_is_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with FakeRegistry(tls) as registry:
        with pytest.raises(Away, match="CERTIFICATE_VERIFY_FAILED"):
            client.text(registry.url, 1)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert client.text(registry.url, 1) is None


@pytest.mark.parametrize(
    "url", ["http://key:s3/cret@registry", "registry:8081", "mock://", "http://", "http://[s3cret"]
)
def test_address_that_is_no_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(Refused, match=r"^its address is not an HTTP URL$"):
        client.text(url, 1)
