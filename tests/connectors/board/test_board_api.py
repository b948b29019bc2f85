"""The query API as its callers see it."""

from typing import Any

import httpx
import pytest

from connectors.board.keep import keep
from connectors.board.store import Store
from schemas import topics
from schemas.records import LinkStatus
from tests.connectors.board.conftest import EACH_DATABASE
from tests.connectors.board.samples import AT, Make

pytestmark = EACH_DATABASE


async def get(client: httpx.AsyncClient, path: str, expected: int = 200) -> Any:
    answer = await client.get(path)
    assert answer.status_code == expected, answer.text
    return answer.json()


async def test_a_link_comes_with_its_timeline_oldest_first(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    late, early = make.event("e2", received_at=AT + 2), make.event("e1", received_at=AT + 1)
    elsewhere = make.event("e3", "link-2")
    keep(
        store,
        [
            *make.statuses(make.status(anomalies=["UNDERPAID"], times={"PAID": AT + 123_456})),
            *(make.message(topics.LINK_EVENTS, event) for event in (late, early, elsewhere)),
            make.message(topics.ANOMALIES, make.anomaly("a1")),
        ],
    )
    link = await get(client, "/links/ping/link-1")
    assert link["amount_minor"] == 1234
    assert link["changed_at"] == "2023-11-14T22:13:20.000000Z"
    assert link["times"] == {"PAID": "2023-11-14T22:13:20.123456Z"}
    assert link["looked_up_at"] is None
    assert [event["event_id"] for event in link["timeline"]] == ["e1", "e2"]
    assert link["anomalies"] == ["UNDERPAID"]
    assert [found["kind"] for found in link["anomaly_details"]] == ["UNDERPAID"]


async def test_events_of_the_same_moment_keep_the_topic_s_order(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    keep(store, make.statuses(make.status()))
    keep(store, [make.message(topics.LINK_EVENTS, make.event(name)) for name in ("b", "a", "c")])
    link = await get(client, "/links/ping/link-1")
    assert [event["event_id"] for event in link["timeline"]] == ["b", "a", "c"]


async def test_an_id_may_hold_any_character(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    keep(store, make.statuses(make.status("a/b ü?")))
    assert (await get(client, "/links/ping/a%2Fb%20%C3%BC%3F"))["link_id"] == "a/b ü?"


@pytest.mark.parametrize("path", ["/links/ping/no", "/links/nobody/x", "/orders/ping/no"])
async def test_what_is_not_there_is_404(client: httpx.AsyncClient, path: str) -> None:
    assert "no such" in (await get(client, path, 404))["error"]


async def test_links_come_newest_first_and_page_by_page(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    # Several share a moment: the cursor must not skip or repeat one of them.
    keep(store, make.statuses(*(make.status(f"l{n:02}", changed_at=n // 4) for n in range(23))))
    seen: list[str] = []
    path = "/links?limit=5"
    while path:
        page = await get(client, path)
        seen += [link["link_id"] for link in page["links"]]
        path = page["next"] and f"/links?limit=5&cursor={page['next']}"
    assert seen == [f"l{n:02}" for n in reversed(range(23))]


async def test_a_cursor_holds_its_place_while_links_change(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    keep(store, make.statuses(*(make.status(f"l{n}", changed_at=n) for n in range(6))))
    first = await get(client, "/links?limit=3")
    keep(store, make.statuses(make.status("new", changed_at=99)))
    second = await get(client, f"/links?limit=3&cursor={first['next']}")
    assert [link["link_id"] for link in second["links"]] == ["l2", "l1", "l0"]


async def test_links_are_filtered(client: httpx.AsyncClient, store: Store, make: Make) -> None:
    keep(
        store,
        make.statuses(
            make.status("a", status="PAID", order_id="o1"),
            make.status("b", provider="peach", status="PAID"),
            make.status("c"),
        ),
    )
    for query, expected in {
        "status=PAID": {"a", "b"},
        "provider=ping": {"a", "c"},
        "provider=ping&status=PAID": {"a"},
        "order_id=o1": {"a"},
        "provider=&status=": {"a", "b", "c"},
    }.items():
        page = await get(client, f"/links?{query}")
        assert {link["link_id"] for link in page["links"]} == expected, query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=x", "limit"),
        ("limit=²", "limit"),
        ("provider=nobody", "provider"),
        ("status=paid", "status"),
        ("cursor=!", "cursor"),
        ("cursor=W10", "cursor"),
        ("cursor=WzEsMiwzXQ", "cursor"),
        ("cursor=WzFlOTksIiIsIiJd", "cursor"),
        ("ordr_id=x", "ordr_id"),
    ],
)
async def test_a_wrong_parameter_is_named(
    client: httpx.AsyncClient, query: str, field: str
) -> None:
    answer = await get(client, f"/links?{query}", 422)
    assert answer["field"] == field
    assert answer["error"].startswith(field)


async def test_an_order_comes_with_links_close_and_settlements(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    order = make.order("o1", state="CLOSED", links=[make.order_link("l1", settled=True)])
    keep(
        store,
        [
            *make.statuses(
                make.status("l1", order_id="o1", status="PROCESSING"),
                make.status("l2", order_id="o1", order_from="REGISTRATION"),
                make.status("l3", order_id="o1", order_from="AWAITED"),
                make.status("l4", order_id="o1", provider="peach"),
            ),
            make.message(topics.ORDERS, order),
            make.message(topics.ORDER_CLOSE, make.close("c1", "o1")),
            make.message(topics.SETTLEMENT, make.settlement("s2", "o1", "CONFIRMED", AT + 5)),
            make.message(topics.SETTLEMENT, make.settlement("s1", "o1", "REQUESTED")),
        ],
    )
    found = await get(client, "/orders/ping/o1")
    assert found["state"] == "CLOSED"
    assert [(link["link_id"], link["status"]) for link in found["links"]] == [
        ("l1", "PAID"),
        ("l2", "CREATED"),
    ]
    assert found["close"]["event_id"] == "c1"
    assert [settlement["kind"] for settlement in found["settlements"]] == ["REQUESTED", "CONFIRMED"]


@pytest.mark.parametrize(
    ("said", "spans"),
    [
        ({"decided_at": AT + 2}, (None, None)),
        ({"decided_at": AT + 2, "settlements": {"EXPECTED": AT + 2}}, (2e-6, None)),
        (
            {"decided_at": AT + 2, "settlements": {"EXPECTED": AT + 2, "CONFIRMED": AT + 9}},
            (2e-6, 7e-6),
        ),
        (
            {"decided_at": AT + 2, "steps": {"CLOSED": AT + 4, "SPLIT": AT + 6}},
            (4e-6, None),
        ),
        (
            {
                "decided_at": AT + 2,
                "steps": {"CLOSED": AT + 4, "SETTLED": AT + 1_500_004},
                "settlements": {"REQUESTED": AT + 4, "CONFIRMED": AT + 1_500_005},
            },
            (4e-6, 1.5),
        ),
    ],
    ids=["decided", "expected", "confirmed", "closed", "settled"],
)
async def test_an_order_says_how_long_it_took(
    client: httpx.AsyncClient,
    store: Store,
    make: Make,
    said: dict[str, Any],
    spans: tuple[float | None, float | None],
) -> None:
    late = make.order_link("l0", paid_at=AT + 10**9)
    links = [late, make.order_link("l1", paid_at=AT), make.order_link("l2", paid_at=AT - 5)]
    order = make.order("o1", links=links, closed_link_ids=["l1", "l2"], **said)
    keep(store, [make.message(topics.ORDERS, order)])
    took = (await get(client, "/orders/ping/o1"))["lapse"]
    assert took["paid_at"] == "2023-11-14T22:13:20.000000Z"
    assert (took["paid_to_closed_seconds"], took["closed_to_settled_seconds"]) == spans


async def test_an_order_that_only_links_know_is_open(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    registration = {
        "order_id": "o1",
        "amount_minor": None,
        "currency": None,
        "expires_at": None,
        "links_in_order": 2,
    }
    paid: LinkStatus = make.status(
        "l1",
        order_id="o1",
        status="PAID",
        payment_id="p1",
        payments=[{"payment_id": "p1", "seen": ["PAID", "SETTLED"]}],
        times={"PAID": AT},
        registration=registration,
    )
    keep(store, make.statuses(paid))
    found = await get(client, "/orders/ping/o1")
    assert (found["state"], found["links_in_order"]) == ("OPEN", 2)
    assert (found["close"], found["settlements"]) == (None, [])
    assert found["links"] == [
        {
            "link_id": "l1",
            "status": "PAID",
            "payment_id": "p1",
            "amount_minor": 1234,
            "currency": "EUR",
            "paid_at": "2023-11-14T22:13:20.000000Z",
            "settled": True,
        }
    ]


async def test_anomalies_come_newest_first(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    some = [make.anomaly(f"a{n}", at=AT + n) for n in range(5)]
    keep(store, [make.message(topics.ANOMALIES, anomaly) for anomaly in some])
    first = await get(client, "/anomalies?limit=3")
    rest = await get(client, f"/anomalies?limit=3&cursor={first['next']}")
    found = [*first["anomalies"], *rest["anomalies"]]
    assert [anomaly["event_id"] for anomaly in found] == ["a4", "a3", "a2", "a1", "a0"]
    assert rest["next"] is None


async def test_dead_letters_come_newest_first_with_their_bytes(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    headers = {"reason": "no JSON", "stage": "normalize", "origin": "callbacks.ping/0/1"}
    keep(
        store,
        [
            make.raw(topics.DEAD_LETTERS, b"h\xc3\xa9", headers),
            make.raw(topics.DEAD_LETTERS, b"\xff\xfe", headers),
            make.raw(topics.DEAD_LETTERS, None, {}),
        ],
    )
    first = await get(client, "/dead-letters?limit=2")
    rest = await get(client, f"/dead-letters?limit=2&cursor={first['next']}")
    letters = [*first["dead_letters"], *rest["dead_letters"]]
    assert [letter["offset"] for letter in letters] == [2, 1, 0]
    assert [letter["body"] for letter in letters] == [
        {"size": 0, "text": None},
        {"size": 2, "base64": "//4="},
        {"size": 3, "text": "hé"},
    ]
    assert letters[2]["reason"] == "no JSON"
    assert letters[2]["stage"] == "normalize"
    assert letters[2]["origin"] == "callbacks.ping/0/1"
    assert letters[2]["key"] == "ping:link-1"


async def test_secrets_are_masked_wherever_they_stand(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    bodies = [
        b'{"paymentId":"p","registrationId" : "SECRET\\"SECRET","ok":1}',
        b'{"card.registrationId":"SECRET',
        b"id=1&registrationId=SECRET&card.cvv=SECRET&signature=SECRET&ok=1",
    ]
    headers = {"x-webhook-signature": "SECRET", "tl-signature": "SECRET", "reason": "odd"}
    keep(store, [make.raw(topics.DEAD_LETTERS, body, headers) for body in bodies])
    event = make.event("e1", attributes={"registrationId": "SECRET", "paymentBrand": "VISA"})
    keep(store, [*make.statuses(make.status()), make.message(topics.LINK_EVENTS, event)])
    for path in ("/dead-letters", "/links/ping/link-1", "/"):
        for accept in ("application/json", "text/html"):
            answer = await client.get(path, headers={"Accept": accept})
            assert "SECRET" not in answer.text, (path, accept)
    letters = (await get(client, "/dead-letters"))["dead_letters"]
    assert letters[0]["body"]["text"].startswith("id=1&registrationId=•••&card.cvv=•••")
    assert letters[2]["body"]["text"] == '{"paymentId":"p","registrationId" : "•••","ok":1}'
    timeline = (await get(client, "/links/ping/link-1"))["timeline"]
    assert timeline[0]["attributes"] == {"registrationId": "•••", "paymentBrand": "VISA"}


async def test_a_time_beyond_the_calendar_is_no_error(
    client: httpx.AsyncClient, store: Store, make: Make
) -> None:
    keep(store, make.statuses(make.status(changed_at=2**62)))
    assert (await get(client, "/links/ping/link-1"))["changed_at"] is None
    assert (await client.get("/")).status_code == 200


async def test_a_database_that_went_away_is_503(client: httpx.AsyncClient, store: Store) -> None:
    def rename(old: str, new: str) -> None:
        with store.engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")

    rename("link_status", "gone")
    try:
        assert "database" in (await get(client, "/links", 503))["error"]
    finally:
        rename("gone", "link_status")
