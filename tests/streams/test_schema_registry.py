"""What we ask of a Schema Registry, and what becomes of its answers."""

import json
import logging
import ssl
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
import trustme

from schemas import codec
from schemas.topics import ANOMALIES, DEAD_LETTERS, LINK_EVENTS, LINKS
from streams.schema_registry import Away, Refused, Registry, shown

TOPICS = (LINKS, DEAD_LETTERS, LINK_EVENTS)


class Known:
    """A registry as far as it is asked: it numbers schemas from 1 on."""

    def __init__(self) -> None:
        self.schemas: list[str] = []
        self.subjects: dict[str, list[str]] = {}
        self.held: dict[str, str] = {}
        self.instead: httpx.Response | Exception | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if isinstance(self.instead, Exception):
            raise self.instead
        return self.instead or self._answer(request)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        what, subject, *_ = request.url.path.removeprefix("/base").split("/")[1:]
        if what == "schemas":
            number = int(request.url.path.split("/")[-1])
            if number > len(self.schemas):
                return httpx.Response(404, json={"error_code": 40403})
            return httpx.Response(200, json={"schema": self.schemas[number - 1]})
        body = json.loads(request.content)
        if what == "config":
            self.held[subject] = body["compatibility"]
            return httpx.Response(200, json=body)
        if request.url.path.endswith("/versions"):
            if body["schema"] not in self.schemas:
                self.schemas.append(body["schema"])
            self.subjects.setdefault(subject, []).append(body["schema"])
        if body["schema"] not in self.subjects.get(subject, []):
            return httpx.Response(404, json={"error_code": 40403})
        return httpx.Response(200, json={"id": 1 + self.schemas.index(body["schema"])})


def registry(answer: Callable[[httpx.Request], httpx.Response]) -> Registry:
    return Registry("http://registry", httpx.MockTransport(answer))


@pytest.fixture
def known() -> Known:
    return Known()


def test_every_avro_topic_has_a_subject_held_to_full_transitive(known: Known) -> None:
    with registry(known) as one:
        assert one.register(TOPICS, "test.") == {
            "test.links-value": 1,
            "test.link-events-value": 2,
        }
        assert one.register(TOPICS, "test.") == one.register(TOPICS, "test."), "again, the same"
    assert known.schemas == [codec.LINK_REGISTERED.text, codec.LINK_EVENT.text]
    assert known.held == dict.fromkeys(known.subjects, "FULL_TRANSITIVE")


def test_ids_are_those_of_the_registry(known: Known) -> None:
    with registry(known) as one:
        one.register((LINK_EVENTS, LINKS), "")
        assert one.ids(TOPICS, "") == {"link_event": 1, "link_registered": 2}
        assert one.text(1) == codec.LINK_EVENT.text
        assert one.text(3) is None


def test_a_schema_that_is_not_registered_names_its_subject_and_the_cure(known: Known) -> None:
    with (
        registry(known) as one,
        pytest.raises(Refused, match=r"test\.anomalies-value .*linkstatus schemas register"),
    ):
        one.ids((ANOMALIES,), "test.")


def test_a_refusal_names_the_schema_and_the_reason() -> None:
    with (
        registry(lambda _: httpx.Response(409, text="incompatible")) as one,
        pytest.raises(Refused, match=r"test\.links-value.*409: incompatible"),
    ):
        one.register(TOPICS, "test.")


def test_a_registry_that_is_away_is_said_so_without_its_address() -> None:
    def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("")

    with registry(away) as one, pytest.raises(Refused, match="does not answer: ConnectTimeout"):
        one.text(1)


def test_what_is_broken_at_the_registry_is_no_refusal() -> None:
    with (
        registry(lambda _: httpx.Response(503, text="starting")) as one,
        pytest.raises(Away, match="503: starting"),
    ):
        one.text(1)


def test_credentials_in_its_address_are_sent_and_not_shown(
    known: Known, caplog: pytest.LogCaptureFixture
) -> None:
    # Faust's worker lets through what every library has to say.
    caplog.set_level(logging.DEBUG, "httpx")
    sent = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["authorization"])
        return known(request)

    url = "https://key:s3cret@registry:8081/base"
    with Registry(url, httpx.MockTransport(answer)) as one:
        assert one.text(1) is None
    assert sent == ["Basic a2V5OnMzY3JldA=="]
    assert "schemas/ids/1" in caplog.text
    assert "s3cret" not in caplog.text
    assert shown(url) == "https://***@registry:8081/base"
    assert shown("http://registry/a@b") == "http://registry/a@b"


class _Nothing(BaseHTTPRequestHandler):
    """A registry that knows no schema."""

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Not on the tests' output."""


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A registry behind an authority of its own, and that authority's certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = HTTPServer(("127.0.0.1", 0), _Nothing)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}", tmp_path / "ca.pem"
    server.shutdown()
    thread.join()
    server.server_close()


def test_over_tls_the_authority_is_the_one_that_is_named(
    over_tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, authority = over_tls
    with Registry(url) as one, pytest.raises(Away, match="CERTIFICATE_VERIFY_FAILED"):
        one.text(1)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with Registry(url) as one:
        assert one.text(1) is None


def test_an_address_that_is_none_is_refused_without_a_word_of_it() -> None:
    with pytest.raises(Refused, match=r"^its address is no URL$"):
        Registry("http://key:s3/cret@registry")
