"""What the edge and the board answer to generated requests, on the wire: what their OpenAPI
document says, never a 5xx, and nothing that is acknowledged is lost.
"""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from starlette.applications import Starlette

from connectors import board as boards
from connectors.board.keep import keep
from connectors.documents.openapi import document
from connectors.edge.access import Access
from connectors.edge.links import LinkForm
from connectors.kafka import Cluster
from connectors.process import Address, http_server
from connectors.provider import Raw, Unreadable
from connectors.receive import Edge, in_front, routes
from connectors.registry import PROVIDERS
from schemas import topics
from schemas.codec import LINK_REGISTERED, LINK_STATUS
from tests.connectors.board.samples import Make
from tests.connectors.outside import Shelf
from tests.connectors.test_receive import KeyRing
from tests.waiting import until_sync

pytestmark = pytest.mark.slow

DOCUMENT = document(PROVIDERS)
TOKEN = "a-token"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# What is there to be found; generated names alone would only ever find nothing.
KNOWN = {
    "link_id": "link-1",
    "order_id": "order-1",
    "subject": "link-status-value",
    "version": "latest",
    "id": str(LINK_STATUS.id),
}


def findable() -> dict[str, Any]:
    """The document, with those names among the values to try."""
    content: dict[str, Any] = json.loads(json.dumps(DOCUMENT))
    named = [p for item in content["paths"].values() for p in item["parameters"]]
    assert {parameter["name"] for parameter in named} >= KNOWN.keys()
    for parameter in named:
        if known := KNOWN.get(parameter["name"]):
            parameter["schema"] = {"anyOf": [{"const": known}, parameter["schema"]]}
    return content


# The stream never ends.
schema = schemathesis.openapi.from_dict(findable()).exclude(path="/stream")
INSTANCES = {name: kind(kind.Config()) for name, kind in PROVIDERS.items()}


class Served:
    """Edge and board in a thread of their own, as `linkstatus web` puts them together."""

    def __init__(self, folder: Path) -> None:
        self.shelf = Shelf()
        edge = Edge(INSTANCES, {}, self.shelf, KeyRing(), Access(SecretStr(TOKEN), local=True))
        database = f"sqlite:///{folder / 'board.sqlite'}"
        address = Address("127.0.0.1", 0)
        config = boards.BoardConfig(Cluster("127.0.0.1:1"), tuple(PROVIDERS), database, address)
        self.board = boards.open_board(config)
        make = Make()
        order = make.order("order-1", links=[make.order_link("link-1")])
        keep(
            self.board.store,
            [
                *make.statuses(make.status()),
                make.message(topics.LINK_EVENTS, make.event("e1")),
                make.message(topics.ORDERS, order),
                make.message(topics.ANOMALIES, make.anomaly("a1")),
                make.raw(topics.DEAD_LETTERS, b"\xff", {"reason": "odd", "stage": "normalize"}),
            ],
        )
        self.app = Starlette(routes=[*routes(edge), *boards.routes(self.board)])
        self.server = http_server(in_front(edge, self.app), address)
        self._thread = threading.Thread(target=lambda: asyncio.run(self.server.serve()))

    def __enter__(self) -> str:
        self._thread.start()
        until_sync(lambda: self.server.started, "the server")
        port = self.server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self._thread.join()
        self.board.store.close()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Shelf]]:
    served = Served(tmp_path_factory.mktemp("web"))
    with served as url:
        yield url, served.shelf


def test_the_document_names_every_route_and_no_other(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.board.store.close()
    paths = {route.path.replace(":path", "").replace(":nr", "") for route in served.app.routes}  # type: ignore[attr-defined]
    apart = {"/static", "/openapi.json"}
    apart |= {"/sign-in", "/sign-out", "/{rest}"}  # pages
    assert apart <= paths
    # Those stand in front of the routes.
    callbacks = {"/callbacks/{provider}", "/callbacks/{provider}/{token}"}
    assert (paths - apart) | callbacks == DOCUMENT["paths"].keys()


def test_the_body_that_registers_a_link_is_that_of_a_new_link() -> None:
    (body,) = DOCUMENT["paths"]["/links"]["post"]["requestBody"]["content"].values()
    form = DOCUMENT["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
    assert form["required"] == ["provider", "link_id"]
    assert form["properties"].keys() == LinkForm.model_fields.keys()


@schema.parametrize()
@settings(suppress_health_check=list(HealthCheck), deadline=None)
def test_the_answers_are_as_documented_and_what_is_acknowledged_is_kept(
    case: schemathesis.Case[Any], web: tuple[str, Shelf], caplog: pytest.LogCaptureFixture
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


def kept(status: int, body: bytes, shelf: Shelf) -> None:
    """Exactly what was acknowledged is on the shelf, and every bit of it says something."""
    if status not in (200, 202):
        assert not shelf.records
        return
    (record,) = shelf.records
    if record.topic == "links":
        assert LINK_REGISTERED.decode(record.value)["link_id"]
        return
    assert record.value == body
    told: dict[str, Any] = {n: value.decode("latin-1") for n, value in record.headers.items()}
    provider = told["provider"]
    raw = Raw(provider, body, told, "callback", told["verified"] == "1", 1, "x")
    try:
        assert any(INSTANCES[provider].read(raw))
    except Unreadable:
        # A dead letter, with its reason.
        return
