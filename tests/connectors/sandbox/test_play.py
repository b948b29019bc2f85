"""`sandbox play` against a board that is right, and against a board that is wrong."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.sandbox.play import PlayResult, play
from connectors.sandbox.scenario import build_scenario
from tests.connectors.sandbox.sandboxes import free_socket, hosted, served

# The servers use real ports and real time.
pytestmark = pytest.mark.slow

LINKS, SEED, RUN = 12, 10, "run-1"


@dataclass
class FakeWeb:
    """The edge and the board in one. It returns the expected result, changed by `wrong`."""

    wrong: dict[str, Any] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    received: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        scenario = build_scenario(LINKS, SEED, RUN)
        self.links = {link.link_id: link for link in scenario.expected_links}
        self.orders = {order.order_id: order for order in scenario.expected_orders}
        self.to_register = {link.link_id for link in scenario.links if link.registration}

    async def register(self, request: Request) -> Response:
        self.tokens.add(request.headers.get("authorization", ""))
        self.registered.add((await request.json())["link_id"])
        return Response(status_code=202)

    async def callback(self, request: Request) -> Response:
        self.received.append(request.path_params["provider"])
        return Response()

    async def link(self, request: Request) -> Response:
        link_id = request.path_params["id"]
        if not self.received and link_id not in self.registered:
            return JSONResponse({"error": "not known"}, 404)
        link = self.links[link_id]
        row = {
            "status": link.status[-1],
            "coverage": link.coverage,
            "order_id": link.order_id,
            "anomalies": link.anomalies,
            "refunded_minor": link.refunded_minor,
            "disputed_minor": link.disputed_minor,
            "currency": link.currency,
            "registration": {"order_id": None},
        }
        return JSONResponse(row | self.wrong)

    async def order(self, request: Request) -> Response:
        order = self.orders[request.path_params["id"]]
        if not order.closed_links:
            return JSONResponse({"error": "not known"}, 404)
        close = {"links": [{"link_id": link_id} for link_id in order.closed_links]}
        settlements = [{"kind": kind} for kind in order.settlements]
        return JSONResponse({"close": close, "settlements": settlements})

    async def play(self, tmp_path: Path, wait_seconds: float) -> PlayResult:
        routes = [
            Route("/links", self.register, methods=["POST"]),
            Route("/callbacks/{provider}", self.callback, methods=["POST"]),
            Route("/links/{provider}/{id}", self.link),
            Route("/orders/{provider}/{id}", self.order),
        ]
        app = Starlette(routes=routes)
        async with served(app, free_socket()) as url, hosted(tmp_path, url) as host:
            sandbox = host.config.base_url
            return await play(url, url, sandbox, LINKS, SEED, wait_seconds, 0.1, RUN, "t0ken")


async def test_play_ends_when_the_board_agrees(tmp_path: Path) -> None:
    web = FakeWeb()
    result = await web.play(tmp_path, 60.0)
    assert result.agrees
    assert (len(result.rows), result.undelivered) == (len(web.links) + len(web.orders), 0)
    assert web.registered == web.to_register
    assert web.tokens == {"Bearer t0ken"}
    assert {row.expected for row in result.rows if row.kind == "orders"} >= {"not closed"}
    assert result.payouts
    closed = {(o.provider, o.order_id) for o in web.orders.values() if o.closed_links}
    paid_out = {(o["provider"], o["order_id"]): o["outcome"] for o in result.payouts}
    assert paid_out.keys() == closed
    assert set(paid_out.values()) == {"MATCHED", "MISSING"}, "too few for a wrong amount"
    assert result.files.keys() == {provider for provider, _ in closed}
    for file in result.files.values():
        assert file.startswith(b"payout_id,settled_at,kind,")
        assert b"stranger-" in file


@pytest.mark.parametrize(
    "wrong", [{"status": "UNKNOWN"}, {"coverage": "UNKNOWN"}, {"anomalies": ["STALE"]}]
)
async def test_play_reports_where_the_board_disagrees(
    tmp_path: Path, wrong: dict[str, Any]
) -> None:
    result = await FakeWeb(wrong).play(tmp_path, 0.0)
    assert not result.agrees
    assert result.payouts == (), "nothing is paid out before the board agrees"
    first = next(row for row in result.rows if row.kind == "links")
    (value,) = wrong.values()
    assert (value if isinstance(value, str) else value[0]) in first.actual
    assert first.actual != first.expected
