"""The simulated Ping behaves as its documents say."""

import json

import pytest

from connectors.provider import ApiResponse
from connectors.sandbox.simulator import NewLink
from tests.connectors.sandboxes import NOW, Simulated, said, shown

LINKS = "/payment_links/api/v1/payment_links"
ORDERS = "/payments/api/v1/payment_orders"
SEED = "a25cdd3b-f95f-4861-87e4-1ca0a6be748e"


@pytest.fixture
def ping() -> Simulated:
    return Simulated("ping")


def headers(ping: Simulated) -> dict[str, str]:
    secrets = ping.site.secrets
    return {"tenant_id": secrets["tenant_id"], "x-api-secret": secrets["api_secret"]}


def call(ping: Simulated, method: str, url: str, doc: object = None) -> ApiResponse:
    return ping.call(method, url, doc, headers(ping))


def an_order(ping: Simulated, *words: str) -> str:
    """An order with one link, to which that happened."""
    ping.sandbox.create(NewLink("link-1", 500, "SEK", "order-1"), NOW)
    for word in words:
        ping.sandbox.move("link-1", word, NOW)
    return f"{ORDERS}/order-1"


def test_the_link_of_the_seed_is_paid_and_its_order_open(ping: Simulated) -> None:
    ping.sandbox.seed("", NOW)
    link = shown(call(ping, "GET", f"{LINKS}/{SEED}"))
    order = shown(call(ping, "GET", f"{ORDERS}/{link['payment_order_id']}"))
    assert (link["status"], link["total_amount"]) == ("COMPLETED", 14000)
    assert (order["status"], order["currency"]) == ("OPEN", "SEK")
    assert [(p["id"], p["status"]) for p in order["payments"]] == [
        (link["payment_id"], "COMPLETED")
    ]
    assert ping.owed() == []


@pytest.mark.parametrize("word", ["expired", "cancelled", "created", "completed"])
def test_the_link_of_the_seed_agrees_with_an_example(ping: Simulated, word: str) -> None:
    ping.sandbox.seed("", NOW)
    ping.sandbox.seed(word, NOW)
    ping.sandbox.seed("", NOW)  # a restart changes nothing
    link = shown(call(ping, "GET", f"{LINKS}/{SEED}"))
    assert link["status"] == word.upper()
    assert (link["payment_id"] is not None) == (word == "completed")


def test_credentials_are_asked_for(ping: Simulated) -> None:
    assert ping.call("GET", LINKS).status == 401
    assert ping.call("GET", LINKS, headers=headers(ping) | {"x-api-secret": "wrong"}).status == 403
    assert call(ping, "GET", LINKS).status == 200


def test_a_link_lives_through_the_api(ping: Simulated) -> None:
    order_id = shown(call(ping, "POST", ORDERS, {"currency": "SEK"}))["id"]
    item = {"description": "Hawaii Pizza", "price": 7000, "quantity": 2}
    asked = {
        "payment_order_id": order_id,
        "currency": "SEK",
        "total_amount": 14000,
        "items": [item],
    }
    link_id = shown(call(ping, "POST", LINKS, asked))["id"]
    assert shown(call(ping, "GET", f"{LINKS}/{link_id}"))["status"] == "CREATED"
    assert [link["payment_link_id"] for link in shown(call(ping, "GET", LINKS))] == [link_id]
    assert call(ping, "PUT", f"{LINKS}/{link_id}/cancel", {}).status == 204
    assert call(ping, "PUT", f"{LINKS}/{link_id}/cancel", {}).status == 403
    assert [(c["payment_link_id"], c["status"]) for c in said(ping.owed())] == [
        (link_id, "CREATED"),
        (link_id, "CANCELLED"),
    ]


def test_errors_have_the_shape_of_their_api(ping: Simulated) -> None:
    flat = call(ping, "GET", f"{LINKS}/none")
    nested = call(ping, "GET", f"{ORDERS}/none")
    assert (flat.status, nested.status) == (404, 404)
    assert json.loads(flat.body)["error"] == "not_found"
    assert json.loads(nested.body)["errors"][0]["error"] == "not_found"
    assert call(ping, "POST", LINKS, {}).status == 422
    asked = {"payment_order_id": "x", "currency": "SEK", "total_amount": 1, "items": [{"price": 1}]}
    assert call(ping, "POST", LINKS, asked).status == 403


def test_the_callback_spells_its_time_as_ping_does(ping: Simulated) -> None:
    an_order(ping, "COMPLETED")
    body = said(ping.owed())[-1]
    assert body == {
        "payment_link_id": "link-1",
        "status": "COMPLETED",
        "occured_at": "2023-11-14T22:13:20.000000Z",
    }


def test_an_order_is_closed_split_and_settled_each_once(ping: Simulated) -> None:
    order = an_order(ping, "COMPLETED")
    for operation in ("close", "close", "split", "settle", "settle", "close"):
        assert call(ping, "PUT", f"{order}/{operation}", {}).status == 204
    assert shown(call(ping, "GET", order))["status"] == "SETTLED"
    log = ping.store.of("ping").all("log")
    assert [(e["operation"], e["repeated"]) for e in log] == [
        ("close", False),
        ("close", True),
        ("split", False),
        ("settle", False),
        ("settle", True),
        ("close", True),
    ]


def test_steps_out_of_order_are_forbidden(ping: Simulated) -> None:
    order = an_order(ping, "COMPLETED")
    assert call(ping, "PUT", f"{order}/split", {"fast_forward": False}).status == 403
    assert call(ping, "PUT", f"{order}/settle", {}).status == 403
    assert shown(call(ping, "GET", order))["status"] == "OPEN"
    assert [e["answer"] for e in ping.store.of("ping").all("log")] == [403, 403]


def test_fast_forward_takes_the_steps_between(ping: Simulated) -> None:
    order = an_order(ping, "COMPLETED")
    assert call(ping, "PUT", f"{order}/settle", {"fast_forward": True}).status == 204
    assert shown(call(ping, "GET", order))["status"] == "SETTLED"


def test_an_order_is_not_closed_while_a_payment_is_under_way(ping: Simulated) -> None:
    order = an_order(ping, "PENDING")
    assert call(ping, "PUT", f"{order}/close", {}).status == 403
    ping.sandbox.move("link-1", "COMPLETED", NOW)
    assert [p["status"] for p in shown(call(ping, "GET", order))["payments"]] == ["COMPLETED"]
    assert call(ping, "PUT", f"{order}/close", {}).status == 204


def test_a_payment_under_way_can_be_stopped_so_that_its_order_closes(ping: Simulated) -> None:
    order = an_order(ping, "PENDING")
    (payment,) = shown(call(ping, "GET", order))["payments"]
    for _ in range(2):
        assert call(ping, "PUT", f"{order}/payments/{payment['id']}/stop").status == 204
    assert call(ping, "PUT", f"{order}/payments/none/stop").status == 404
    assert shown(call(ping, "GET", f"{order}/payments/{payment['id']}"))["status"] == "STOPPED"
    assert call(ping, "PUT", f"{order}/close", {}).status == 204


def test_a_link_is_distributed_and_invoiced_without_a_callback(ping: Simulated) -> None:
    an_order(ping)
    ping.owed()
    link = f"{LINKS}/link-1"
    methods = {"methods": ["sms", "email"]}
    assert call(ping, "PUT", f"{link}/distribute", methods).status == 204
    assert call(ping, "PUT", f"{link}/distribute", {"methods": ["pigeon"]}).status == 422
    assert call(ping, "PUT", f"{link}/invoice").status == 204
    assert call(ping, "PUT", f"{LINKS}/none/distribute", methods).status == 404
    about = shown(call(ping, "GET", link))
    assert (about["sms_status"], about["distributed_by_email"]) == ("DELIVERED", True)
    assert (about["status"], about["invoice_created"]) == ("CREATED", True)
    assert ping.owed() == []


def test_orders_and_allocations_are_listed_in_pages(ping: Simulated) -> None:
    order = an_order(ping, "COMPLETED")
    ping.sandbox.create(NewLink("link-2", 700, "EUR", "order-2"), NOW)
    listed = shown(call(ping, "GET", f"{ORDERS}?limit=1"))
    assert [each["id"] for each in listed["data"]] == ["order-1"]
    assert shown(call(ping, "GET", f"{ORDERS}?status=CLOSED"))["data"] == []
    allocations = "/payments/api/v1/allocations"
    assert shown(call(ping, "GET", allocations))["data"] == []
    for step in ("close", "split", "settle"):
        assert call(ping, "PUT", f"{order}/{step}", {}).status == 204
    (allocation,) = shown(call(ping, "GET", allocations))["data"]
    assert (allocation["amount"], allocation["currency"]) == (500, "SEK")
    assert allocation["settled_at"] is not None


def test_there_is_no_such_link_or_word(ping: Simulated) -> None:
    an_order(ping)
    with pytest.raises(KeyError):
        ping.sandbox.move("link-1", "completed", NOW)
    with pytest.raises(KeyError):
        ping.sandbox.move("link-2", "COMPLETED", NOW)
