"""Edge and board answer generated requests on the wire as their OpenAPI document says, never with
a 5xx, and keep everything that they acknowledge.
"""

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from connectors.board.board import Board
from connectors.board.exports import EXPORTS
from connectors.board.routes import site
from connectors.http.access import Access
from connectors.providers.base import Unreadable
from connectors.providers.raw import Raw
from connectors.providers.registry import PROVIDERS
from connectors.receive.process import Edge, router
from connectors.serialize import as_json
from connectors.web import application
from schemas import codec, topics
from schemas.codec import LINK_REGISTERED, Schema
from schemas.limits import HEAD_BYTES
from schemas.link_form import LinkForm
from tests.connectors.board.samples import Make, save
from tests.support.api_cases import SCHEMA, config, document
from tests.support.codecs import CODECS
from tests.support.edge import KeyRing
from tests.support.fakes import FakePublisher
from tests.support.serving import serving

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
INSTANCES = {name: kind(kind.Config()) for name, kind in PROVIDERS.items()}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, FakePublisher]]:
    """Edge and board, as `linkstatus web` composes them."""
    shelf, make = FakePublisher(), Make()
    edge = Edge(INSTANCES, {}, shelf, CODECS, KeyRing(), Access("127.0.0.1", SecretStr("a-token")))
    board = Board(config(f"sqlite:///{tmp_path_factory.mktemp('web') / 'board.sqlite'}"))
    messages = [
        *make.statuses(make.status()),
        make.message(topics.LINK_EVENTS, make.event("e1")),
        make.message(topics.ORDERS, make.order("order-1", links=[make.order_link("link-1")])),
        make.message(topics.ANOMALIES, make.anomaly("a1")),
        make.raw(topics.DEAD_LETTERS, b"\xff", {"reason": "odd", "stage": "normalize"}),
    ]
    save(board.store, messages)
    with closing(board.store), serving(application(edge, site(board, router(edge)), [])) as url:
        yield url, shelf


def test_document_names_every_operation() -> None:
    operations = {
        f"{method.upper()} {path}" for path, item in document()["paths"].items() for method in item
    }
    assert operations == {
        "GET /",
        "POST /callbacks/{provider}",
        "POST /callbacks/{provider}/{token}",
        *("GET /links", "POST /links", "GET /links/{provider}/{link_id}"),
        *(f"{method} /links/{{provider}}/{{link_id}}/cancel" for method in ("GET", "POST")),
        "POST /links/{provider}/{link_id}/lookup",
        *("GET /orders", "GET /orders/{provider}/{order_id}"),
        *("GET /anomalies", "GET /notices", "GET /processes", "GET /stream", "GET /money"),
        *(f"GET /{name}.csv" for name in EXPORTS),
        *("GET /anomalies/resolve", "POST /anomalies/resolve", "POST /anomalies/reopen"),
        *("GET /reconciliations", "GET /reconciliations/{provider}/{day}"),
        *("GET /dead-letters", "GET /dead-letters/{partition}/{offset}"),
        *("GET /dead-letters/resolve", "POST /dead-letters/resolve", "POST /dead-letters/reopen"),
        *("GET /dead-letters/replay", "POST /dead-letters/replay"),
        *("GET /registry/schemas/ids/{id}", "GET /registry/subjects"),
        "GET /registry/subjects/{subject}/versions",
        "GET /registry/subjects/{subject}/versions/{version}",
    }


def test_body_of_a_registration_is_documented() -> None:
    content = document()
    (body,) = content["paths"]["/links"]["post"]["requestBody"]["content"].values()
    form = content["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
    assert form["required"] == ["provider", "link_id"]
    assert form["properties"].keys() == LinkForm.model_fields.keys()


@pytest.mark.parametrize(
    ("name", "avro", "record", "more"),
    [
        ("ListedLink", codec.LINK_STATUS, Make().status(), {"order_state": None, "waiting": None}),
        ("LinkEvent", codec.LINK_EVENT, Make().event("e1"), {}),
        ("Notice", codec.NOTICE, Make().notice("n1"), {}),
    ],
)
def test_row_fits_its_documented_schema_only_as_it_is(
    name: str, avro: Schema[Any], record: Any, more: dict[str, None]
) -> None:
    whole = {"$ref": f"#/components/schemas/{name}", "components": document()["components"]}
    valid = jsonschema_rs.validator_for(whole)
    shown = as_json(avro, record) | more
    assert [error.message for error in valid.iter_errors(shown)] == []
    for field in shown:
        assert not valid.is_valid({n: v for n, v in shown.items() if n != field}), field
        assert not valid.is_valid({**shown, field: [[]]}), field


@pytest.mark.slow
@SCHEMA.parametrize()
@settings(suppress_health_check=list(HealthCheck), deadline=None)
def test_answers_are_as_documented_and_what_is_acknowledged_is_kept(
    case: schemathesis.Case[Any], web: tuple[str, FakePublisher], caplog: pytest.LogCaptureFixture
) -> None:
    url, shelf = web
    shelf.records.clear()
    caplog.clear()
    response = case.call(base_url=url)
    case.validate_response(response, checks=CHECKS)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert not errors, caplog.text
    if case.method == "POST":
        sent: Any = response.request.body or b""
        kept(response.status_code, sent.encode() if isinstance(sent, str) else sent, shelf)
    else:
        assert not shelf.records


def test_refusal_by_the_server_is_documented(web: tuple[str, FakePublisher]) -> None:
    cursor = "A" * HEAD_BYTES
    response = httpx.get(f"{web[0]}/reconciliations?cursor={cursor}", trust_env=False)
    documented = document()["paths"]["/reconciliations"]["get"]["responses"]
    assert list(documented[str(response.status_code)]["content"]) == ["text/plain"]
    assert response.headers["content-type"].partition(";")[0] == "text/plain"


def kept(status: int, body: bytes, shelf: FakePublisher) -> None:
    """Exactly what was acknowledged is on the shelf, and every bit of it says something."""
    if status not in (200, 202):
        assert not shelf.records
        return
    (record,) = shelf.records
    if record.topic == "links":
        assert CODECS.decode(LINK_REGISTERED, record.value)["link_id"]
        return
    assert record.value == body
    headers: dict[str, Any] = {n: value.decode("latin-1") for n, value in record.headers.items()}
    provider = headers["provider"]
    raw = Raw(provider, body, headers, "callback", headers["verified"] == "1", 1, "x")
    try:
        assert any(INSTANCES[provider].read(raw))
    except Unreadable:
        # A dead letter, with its reason.
        return
