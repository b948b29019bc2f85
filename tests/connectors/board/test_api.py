"""The query API, as programs see it."""

import gzip
import re
from typing import Any

import pytest

from schemas import topics
from tests.connectors.board.conftest import EACH_DATABASE, READING, Site
from tests.connectors.board.samples import AT, Make, save

pytestmark = EACH_DATABASE


async def test_link_has_its_timeline_oldest_first(site: Site) -> None:
    make = site.make
    site.put(topics.LINK_STATUS, make.status(anomalies=["UNDERPAID"], times={"PAID": AT + 123_456}))
    late, early = make.event("e2", received_at=AT + 2), make.event("e1", received_at=AT + 1)
    # Events of one time keep the order of the topic.
    same = [make.event(name, received_at=AT + 3) for name in ("d", "c", "f")]
    site.put(topics.LINK_EVENTS, late, early, *same, make.event("e3", "link-2"))
    site.put(topics.ANOMALIES, make.anomaly("a1"))
    link = await site.get("/links/ping/link-1")
    assert link["amount_minor"] == 1234
    assert link["changed_at"] == "2023-11-14T22:13:20.000000Z"
    assert link["times"] == {"PAID": "2023-11-14T22:13:20.123456Z"}
    assert link["looked_up_at"] is None
    assert [event["event_id"] for event in link["timeline"]] == ["e1", "e2", "d", "c", "f"]
    assert link["anomalies"] == ["UNDERPAID"]
    assert [found["kind"] for found in link["anomaly_details"]] == ["UNDERPAID"]


async def test_id_may_hold_any_character(site: Site) -> None:
    site.put(topics.LINK_STATUS, site.make.status("a/b ü?"))
    assert (await site.get("/links/ping/a%2Fb%20%C3%BC%3F"))["link_id"] == "a/b ü?"


async def test_lists_are_paged_newest_first(site: Site) -> None:
    # Several share a time: the cursor must not skip or repeat any.
    links = [site.make.status(f"l{n:02}", changed_at=n // 4) for n in range(23)]
    site.put(topics.LINK_STATUS, *links)
    site.put(topics.ANOMALIES, *(site.make.anomaly(f"a{n}", at=AT + n) for n in range(5)))
    assert await paged(site, "links", "link_id") == [f"l{n:02}" for n in reversed(range(23))]
    assert await paged(site, "anomalies", "event_id") == ["a4", "a3", "a2", "a1", "a0"]


async def paged(site: Site, name: str, key: str) -> list[str]:
    """The keys of all rows of a list, page by page."""
    seen: list[str] = []
    path = f"/{name}?limit=3"
    while path:
        page = await site.get(path)
        # What comes meanwhile does not move the cursor.
        site.put(topics.LINK_STATUS, site.make.status("new", changed_at=99))
        seen += [row[key] for row in page[name]]
        path = page["next"] and f"/{name}?limit=3&cursor={page['next']}"
    return seen


async def test_links_are_filtered_and_searched(site: Site) -> None:
    site.put(
        topics.LINK_STATUS,
        site.make.status("l1", status="PAID", order_id="o1", payment_ids=["pay-1"]),
        site.make.status("l2", provider="peach", status="PAID", order_id="o7"),
        site.make.status("l3"),
    )
    every = {"l1", "l2", "l3"}
    for query, expected in {
        "status=PAID": {"l1", "l2"},
        "provider=ping": {"l1", "l3"},
        "provider=ping&status=PAID": {"l1"},
        "order_id=o1": {"l1"},
        "provider=&status=": every,
        # The search field of the page.
        "q=l": every,
        "q=l2": {"l2"},
        "q=pay-1": {"l1"},
        "q=o7": {"l2"},
        "q=l&provider=peach": {"l2"},
        "q=%25": set(),
        # A page reports a wrong filter and hides nothing.
        "status=PIAD": every,
    }.items():
        page = await site.page(f"/links?{query}")
        assert set(re.findall(r">(l\d)</a>", page)) == expected, query
        if "q=" not in query and "PIAD" not in query:
            listed = (await site.get(f"/links?{query}"))["links"]
            assert {link["link_id"] for link in listed} == expected, query
    assert "status: is not one of" in page


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *((f"limit={limit}", "limit") for limit in ("0", "501", "x", "²")),
        ("provider=acme", "provider"),
        ("status=paid", "status"),
        *((f"cursor={cursor}", "cursor") for cursor in ("!", "W10", "WzEsMiwzXQ")),
        ("cursor=WzFlOTksIiIsIiJd", "cursor"),
        ("cursor=" + 1000 * "W1tb", "cursor"),  # deeply nested
        ("ordr_id=x", "ordr_id"),
    ],
)
async def test_wrong_parameter_is_named(site: Site, query: str, field: str) -> None:
    answer = await site.get(f"/links?{query}", 422)
    assert list(answer["fields"]) == [field]
    assert answer["error"].startswith(field)


async def test_order_has_links_close_and_settlements(site: Site) -> None:
    make = site.make
    site.put(
        topics.LINK_STATUS,
        make.status("l1", order_id="o1", status="PROCESSING"),
        make.status("l2", order_id="o1", order_from="REGISTRATION"),
        make.status("l3", order_id="o1", order_from="AWAITED"),
        make.status("l4", order_id="o1", provider="peach"),
    )
    links = [make.order_link("l1", settled=True)]
    site.put(topics.ORDERS, make.order("o1", state="CLOSED", links=links))
    site.put(topics.ORDER_CLOSE, make.close("c1", "o1"))
    site.put(topics.ORDER_CORRECTIONS, make.correction("k1", "o1", "c1"))
    confirmed = make.settlement("s2", "o1", "CONFIRMED", AT + 5)
    site.put(topics.SETTLEMENT, confirmed, make.settlement("s1", "o1", "REQUESTED"))
    found = await site.get("/orders/ping/o1")
    assert found["state"] == "CLOSED"
    statuses = {link["link_id"]: link["status"] for link in found["links"]}
    assert statuses == {"l1": "PAID", "l2": "CREATED"}
    assert found["close"]["event_id"] == "c1"
    assert [(c["corrects"], c["number"]) for c in found["corrections"]] == [(["c1"], 1)]
    assert [settlement["kind"] for settlement in found["settlements"]] == ["REQUESTED", "CONFIRMED"]


# What the worker knows of an order that it decided to close at 2 µs, and the seconds from its last
# payment to its close and from there to its settlement.
DURATIONS: dict[str, Any] = {
    "decided": ({}, (None, None)),
    "expected": ({"settlements": {"EXPECTED": AT + 2}}, (2e-6, None)),
    "confirmed": ({"settlements": {"EXPECTED": AT + 2, "CONFIRMED": AT + 9}}, (2e-6, 7e-6)),
    "closed": ({"steps": {"CLOSED": AT + 4, "SPLIT": AT + 6}}, (4e-6, None)),
    "settled": (
        {
            "steps": {"CLOSED": AT + 4, "SETTLED": AT + 1_500_004},
            "settlements": {"REQUESTED": AT + 4, "CONFIRMED": AT + 1_500_005},
        },
        (4e-6, 1.5),
    ),
    "settled earlier by the provider's clock": (
        {"steps": {"CLOSED": AT + 4, "SETTLED": AT + 3}},
        (4e-6, None),
    ),
}


@pytest.mark.parametrize(("known", "seconds"), DURATIONS.values(), ids=DURATIONS)
async def test_order_has_the_durations_of_its_steps(
    site: Site, known: dict[str, Any], seconds: tuple[float | None, float | None]
) -> None:
    paid_at = {"l0": AT + 10**9, "l1": AT, "l2": AT - 5}
    links = [site.make.order_link(name, paid_at=at) for name, at in paid_at.items()]
    known = {"closed_link_ids": ["l1", "l2"], "decided_at": AT + 2, **known}
    site.put(topics.ORDERS, site.make.order("o1", links=links, **known))
    durations = (await site.get("/orders/ping/o1"))["durations"]
    assert durations["paid_at"] == "2023-11-14T22:13:20.000000Z"
    assert (durations["paid_to_closed_seconds"], durations["closed_to_settled_seconds"]) == seconds


async def test_order_that_only_links_name_is_open(site: Site) -> None:
    paid: dict[str, Any] = {
        **{"order_id": "o1", "status": "PAID", "payment_id": "p1", "times": {"PAID": AT}},
        "payments": [{"payment_id": "p1", "seen": ["PAID", "SETTLED"]}],
        "registration": site.make.registration(order_id="o1", links_in_order=2),
    }
    site.put(topics.LINK_STATUS, site.make.status("l1", **paid))
    found = await site.get("/orders/ping/o1")
    assert (found["state"], found["links_in_order"]) == ("OPEN", 2)
    assert (found["close"], found["settlements"]) == (None, [])
    expected = site.make.order_link("l1", payment_id="p1", settled=True, links_in_order=2)
    assert found["links"] == [{**expected, "paid_at": "2023-11-14T22:13:20.000000Z"}]


async def test_dead_letters_are_newest_first_with_their_bytes(site: Site) -> None:
    for body in (b"h\xc3\xa9", b"\xff\xfe", None):
        site.put_dead_letters("no JSON", body=body)
    first = await site.get("/dead-letters?limit=2")
    rest = await site.get(f"/dead-letters?limit=2&cursor={first['next']}")
    letters = [*first["dead_letters"], *rest["dead_letters"]]
    assert [letter["offset"] for letter in letters] == [2, 1, 0]
    assert [letter["body"] for letter in letters] == [
        {"size": 0, "text": None, "base64": None},
        {"size": 2, "text": None, "base64": "//4="},
        {"size": 3, "text": "hé", "base64": None},
    ]
    assert letters[2] == await site.get("/dead-letters/0/0")
    names = ("reason", "stage", "origin", "key")
    expected = ["no JSON", "normalize", "callbacks.ping/0/7", "ping:link-1"]
    assert [letters[2][name] for name in names] == expected


async def test_a4_encoded_body_is_shown_decoded_and_masked(site: Site) -> None:
    body = gzip.compress(b'{"registrationId":"SECRET","ok":1}')
    headers = {"content-encoding": "gzip", "reason": "odd", "stage": "normalize"}
    save(site.store, [site.make.raw(topics.DEAD_LETTERS, body, headers)])
    (letter,) = (await site.get("/dead-letters"))["dead_letters"]
    assert '"ok":1' in letter["body"]["text"]
    assert "SECRET" not in letter["body"]["text"]


async def test_secrets_are_masked_everywhere(site: Site, make: Make) -> None:
    bodies = [
        b'{"paymentId":"p","registrationId" : "SECRET\\"SECRET","ok":1}',
        b'{"card.registrationId":"SECRET',
        b"id=1&registrationId=SECRET&card.cvv=SECRET&signature=SECRET&ok=1",
    ]
    headers = {"x-webhook-signature": "SECRET", "tl-signature": "SECRET", "reason": "odd"}
    save(site.store, [make.raw(topics.DEAD_LETTERS, body, headers) for body in bodies])
    attributes = {"registrationId": "SECRET", "paymentBrand": "VISA"}
    site.put(topics.LINK_STATUS, make.status())
    site.put(topics.LINK_EVENTS, make.event("e1", attributes=attributes))
    for path in ("/dead-letters", "/links/ping/link-1", "/"):
        for headers in ({}, READING):
            assert "SECRET" not in (await site.client.get(path, headers=headers)).text, path
    letters = (await site.get("/dead-letters"))["dead_letters"]
    assert letters[0]["body"]["text"].startswith("id=1&registrationId=•••&card.cvv=•••")
    assert letters[2]["body"]["text"] == '{"paymentId":"p","registrationId" : "•••","ok":1}'
    timeline = (await site.get("/links/ping/link-1"))["timeline"]
    assert timeline[0]["attributes"] == {"registrationId": "•••", "paymentBrand": "VISA"}


async def test_time_after_the_year_9999_is_null(site: Site) -> None:
    site.put(topics.LINK_STATUS, site.make.status(changed_at=2**62))
    assert (await site.get("/links/ping/link-1"))["changed_at"] is None
    await site.get("/")


async def test_unavailable_database_is_a_503_for_browsers_and_programs(site: Site) -> None:
    def rename(old: str, new: str) -> None:
        with site.store.engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")

    rename("link_status", "gone")
    try:
        assert "cannot be read now" in (await site.get("/links", 503))["error"]
        page = await site.page("/links", 503)
        assert "cannot be read now" in page
        assert "<main" in page
    finally:
        rename("gone", "link_status")


@pytest.mark.parametrize(
    "place",
    [f"0/{10**20}", f"{10**20}/0", f"{2**31}/0", f"0/{'9' * 5000}", f"{'9' * 5000}/0", "x/y"],
    ids=lambda place: place[:24],
)
async def test_place_outside_the_numbers_of_a_database_is_404(site: Site, place: str) -> None:
    await site.page(f"/dead-letters/{place}", 404)
    await site.get(f"/dead-letters/{place}", 404)
    answer = await site.get(f"/dead-letters?place={place}", 422)
    assert list(answer["fields"]) == ["place"]
