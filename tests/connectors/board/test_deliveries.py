"""The callbacks of a link, each repeat too."""

from contextlib import closing
from dataclasses import replace

from alembic import command

from connectors.board.database import deliveries, links, migrate
from connectors.board.database.store import Store
from schemas import topics
from tests.connectors.board.conftest import EACH_DATABASE, NewDatabase, Site
from tests.connectors.board.samples import AT, Make, save

SECOND = 1_000_000


def put_callbacks(site: Site) -> None:
    make = site.make
    site.put(topics.LINK_STATUS, make.status())
    for n in range(3):
        event = make.event("e1", verified=True, received_at=AT + n * SECOND)
        site.put(topics.LINK_EVENTS, {**event, "origin": f"callbacks.ping/0/{n}"})
    for n in range(2):
        poll = make.event("e2", source="poll", provider_status="polled")
        site.put(topics.LINK_EVENTS, {**poll, "origin": f"callbacks.ping/0/{n + 7}"})
    headers = {"reason": "unknown status", "stage": "normalize", "source": "callback"}
    headers |= {"origin": "callbacks.ping/0/9", "verified": "1"}
    save(site.store, [make.raw(topics.DEAD_LETTERS, b"x", headers)])


@EACH_DATABASE
async def test_link_shows_each_callback_with_its_answer(site: Site) -> None:
    put_callbacks(site)
    answer = await site.get("/links/ping/link-1")
    assert [
        (one["origin"], one["number"], one["verified"], one["answer"])
        for one in answer["deliveries"]
    ] == [
        ("callbacks.ping/0/2", 3, True, 200),
        ("callbacks.ping/0/1", 2, True, 200),
        ("callbacks.ping/0/9", 1, True, 200),
        ("callbacks.ping/0/0", 1, True, 200),
    ]
    assert [one["event_id"] for one in answer["timeline"]] == ["e1", "e2"]
    assert answer["timeline"][0]["origin"] == "callbacks.ping/0/0"
    page = await site.page("/links/ping/link-1")
    for text in ("repeat 2", "not understood", "unknown status", "delivery:callbacks.ping/0/2"):
        assert text in page
    assert "polled" not in page.partition('id="deliveries"')[2].partition("</section>")[0]


@EACH_DATABASE
async def test_repeats_of_a_callback_are_shown_up_to_a_limit(site: Site) -> None:
    make, more = site.make, deliveries.MOST + 1
    site.put(topics.LINK_STATUS, make.status())
    events = [make.event("e1", received_at=AT + n, origin=f"c/0/{n}") for n in range(more)]
    site.put(topics.LINK_EVENTS, *events)
    found = deliveries.of_link(site.store, "ping", "link-1")
    assert [one.number for one in found] == list(range(more, 1, -1))


@EACH_DATABASE
def test_events_of_an_older_database_stay_and_are_read_again(
    new_database: NewDatabase, make: Make
) -> None:
    url = new_database()
    messages = [make.message(topics.LINK_EVENTS, make.event(name)) for name in ("e1", "e2")]
    with closing(Store(url)) as store:
        save(store, [*make.statuses(make.status()), *messages])
        with store.engine.begin() as connection:
            command.downgrade(migrate.config(connection), "0004")
            connection.exec_driver_sql("DELETE FROM link_events")
            connection.exec_driver_sql(
                "INSERT INTO link_events VALUES ('ping', 'link-1', 'e1', 1, 0, 0, '{}')"
            )
    with closing(Store(url)) as store:
        assert "link-events" not in {topic for topic, _ in store.positions()}
        save(store, [replace(message) for message in messages])
        link = links.find(store, "ping", "link-1")
        assert link is not None
        assert len(link.events) == 2
        assert len(deliveries.of_link(store, "ping", "link-1")) == 2
