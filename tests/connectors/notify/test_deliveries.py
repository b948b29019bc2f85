"""The deliveries to one endpoint: order, retries, and what is given up."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from starlette.responses import RedirectResponse, Response

from connectors.notify.endpoint import SCHEMAS
from connectors.triage.dead_letter import ENDPOINT as HEADER
from schemas.topics import NOTIFY_REPLAYS
from streams import testing
from tests.connectors.notify.harness import ENDPOINT, QUICK, notifying, value
from tests.support.fakes import UNKNOWN_SCHEMA, slow_registry, with_foreign_id
from tests.support.receiver import OTHER_SECRET, SECRET, Attempt, Receiver, statuses
from tests.support.waiting import until

CLOSE = testing.order_close("O1")
EVENTS: dict[str, Any] = {
    "order-close": CLOSE,
    "order-corrections": testing.order_correction(CLOSE, 1000),
    "settlement": testing.settlement(CLOSE),
    "refunds": testing.refund(),
    "anomalies": testing.anomaly(),
}
DOWN = "linkstatus_notify_endpoint_down", {"endpoint": "billing"}
# An event that is older is given up at its first failure.
GIVES_UP = replace(QUICK, retry_for=0)


async def test_each_event_is_posted_once_and_acknowledged() -> None:
    receiver = Receiver()
    async with notifying(receiver) as working:
        for topic, record in EVENTS.items():
            await working.take(topic, record)
        await working.end()
    assert [*receiver.accepted] == [record["event_id"] for record in EVENTS.values()]
    assert len(receiver.attempts) == len(EVENTS)
    assert (receiver.wrong, working.dead_letters()) == ([], [])


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_any_2xx_is_success(status: int) -> None:
    receiver = Receiver(answer=statuses(then=status))
    async with notifying(receiver) as working:
        await working.close("O1")
        await working.end()
    assert len(receiver.attempts) == 1


@pytest.mark.parametrize("status", [300, 301, 307, 400, 401, 404, 410, 429, 500, 502, 503, 504])
async def test_any_other_answer_is_retried_under_the_same_id(status: int) -> None:
    receiver = Receiver(answer=statuses(status, status, status))
    async with notifying(receiver) as working:
        await working.close("O1")
        await working.end()
    assert [attempt.number for attempt in receiver.attempts] == [1, 2, 3, 4]
    assert len(receiver.accepted) == 1


async def test_redirect_is_not_followed() -> None:
    async def answer(attempt: Attempt) -> Response:
        return RedirectResponse("/hooks") if attempt.number == 1 else Response(status_code=204)

    receiver = Receiver(answer=answer)
    async with notifying(receiver) as working:
        await working.close("O1")
        await working.end()
    assert [attempt.number for attempt in receiver.attempts] == [1, 2]


async def test_answer_with_a_large_body_is_accepted() -> None:
    async def answer(_: Attempt) -> Response:
        return Response(b"x" * 3_000_000, headers={"content-encoding": "gzip"})

    receiver = Receiver(answer=answer)
    async with notifying(receiver) as working:
        await working.close("O1")
        await working.end()
    assert len(receiver.attempts) == 1


async def test_refused_event_holds_only_what_follows_of_its_order() -> None:
    release = asyncio.Event()

    async def answer(attempt: Attempt) -> Response:
        refused = attempt.subject == "O1" and not release.is_set()
        return Response(status_code=500 if refused else 204)

    receiver = Receiver(answer=answer)
    async with notifying(receiver) as working:
        await working.close("O1")
        await working.take("settlement", EVENTS["settlement"])
        await working.take("refunds", EVENTS["refunds"])
        await working.take("anomalies", EVENTS["anomalies"])
        await working.close(*(f"P{number}" for number in range(30)))
        await until(lambda: len(receiver.accepted) == 30, "the other orders")
        assert {attempt.type for attempt in receiver.attempts} == {"linkstatus.OrderClose"}
        assert working.tracker.next_offset == 0, "nothing behind it is committed"
        release.set()
        await working.end()
    of_order = [EVENTS[topic]["event_id"] for topic in ("order-close", "settlement", "refunds")]
    assert [one for one in receiver.accepted if one in of_order] == of_order


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 1, 2])), max_size=12),
    st.integers(1, 3),
)
def test_first_acceptances_of_an_order_are_in_order(
    plan: list[tuple[int, int]], failing: int
) -> None:
    """Each event fails some times, and events of an order come in the order of their times."""

    async def answer(attempt: Attempt) -> Response:
        fails = attempt.number <= attempt.data["total_minor"] % 10
        status = (500, 503, 429)[attempt.number % failing]
        return Response(status_code=status if fails else 204)

    async def work() -> None:
        receiver = Receiver(answer=answer)
        expected: dict[str, list[str]] = {}
        async with notifying(receiver) as working:
            for number, (order, failures) in enumerate(plan):
                close = testing.order_close(f"O{order}", 1000 + failures)
                record = {**close, "event_id": f"e{number}"}
                expected.setdefault(f"O{order}", []).append(f"e{number}")
                await working.take("order-close", record)
            await working.end()
        assert {name: receiver.accepted_of(name) for name in expected} == expected

    asyncio.run(work())


async def test_event_that_is_refused_for_too_long_is_a_dead_letter_and_its_order_goes_on() -> None:
    async def answer(attempt: Attempt) -> Response:
        return Response(status_code=422 if attempt.type.endswith("OrderClose") else 204)

    receiver = Receiver(answer=answer)
    async with notifying(receiver, GIVES_UP) as working:
        await working.close("O1")
        await working.take("settlement", EVENTS["settlement"])
        await working.end()
    (letter,) = working.dead_letters()
    assert letter.value == value("order-close", CLOSE)
    assert (letter.headers["stage"], letter.headers[HEADER]) == (b"notify", b"billing")
    assert letter.headers["reason"] == b"billing answers 422, after 1 attempts; given up"
    assert [*receiver.accepted] == [EVENTS["settlement"]["event_id"]]


@pytest.mark.parametrize(("age", "least"), [(0, 0.3), (3_600, 0.2)], ids=["new", "old"])
async def test_event_is_retried_until_both_times_are_over(age: int, least: float) -> None:
    """Its age counts, so that a restart begins no new horizon; but an old event gets its chance."""
    receiver, started = Receiver(answer=statuses(then=500)), time.monotonic()
    async with notifying(receiver, replace(QUICK, retry_for=0.3, retry_at_least=0.2)) as working:
        await working.take_bytes("order-close", value("order-close", CLOSE), age_seconds=age)
        await working.end()
    assert time.monotonic() - started >= least
    assert len(receiver.attempts) > 2
    assert len(working.dead_letters()) == 1


async def test_event_that_waited_for_another_one_is_tried_as_long() -> None:
    """Its time begins with its own first attempt."""
    receiver = Receiver(answer=statuses(then=500))
    async with notifying(receiver, replace(QUICK, retry_for=0.2, retry_at_least=0.2)) as working:
        await working.close("O1")
        await working.take("settlement", EVENTS["settlement"])
        await working.end()
    attempts = [attempt.type for attempt in receiver.attempts]
    assert min(attempts.count(one) for one in set(attempts)) > 2
    assert len(working.dead_letters()) == 2


async def test_endpoint_says_when_to_try_again() -> None:
    async def answer(attempt: Attempt) -> Response:
        if attempt.number == 1:
            return Response(status_code=503, headers={"retry-after": "1"})
        return Response(status_code=204)

    receiver, started = Receiver(answer=answer), time.monotonic()
    async with notifying(receiver) as working:
        await working.close("O1")
        await working.end()
    assert time.monotonic() - started >= 1


async def test_endpoint_that_is_gone_gets_one_probe_at_a_time() -> None:
    receiver = Receiver(answer=statuses(then=410))
    async with notifying(receiver, replace(QUICK, gone_pause=60.0)) as working:
        await working.close(*(f"O{number}" for number in range(50)))
        await until(lambda: REGISTRY.get_sample_value(*DOWN) == 1, "the pause")
    # Those that ran at the same time as the first.
    assert len(receiver.attempts) <= 8


@pytest.mark.parametrize("events", [4, 5])
async def test_endpoint_takes_no_more_than_its_limit(events: int) -> None:
    receiver = Receiver(answer=statuses(then=500))
    async with notifying(receiver, replace(QUICK, max_held=5)) as working:
        await working.close(*(f"O{number}" for number in range(events)))
        await until(lambda: len(receiver.attempts) >= events, "the attempts")
        assert working.deliveries.capacity() == 5 - events
        why = working.deliveries.why_full()
        assert (why is not None) is (events == 5)
        if why:
            assert "endpoint billing answers 500; 5 events wait" in why


async def test_endpoint_that_only_catches_up_is_ready() -> None:
    free = asyncio.Event()

    async def answer(_: Attempt) -> Response:
        await free.wait()
        return Response(status_code=204)

    async with notifying(Receiver(answer=answer), replace(QUICK, max_held=5)) as working:
        await working.close(*(f"O{number}" for number in range(5)))
        assert working.deliveries.capacity() == 0
        assert working.deliveries.why_full() is None
        assert (working.deliveries.oldest() or 0) > 0
        free.set()
        await working.end()
        assert (working.deliveries.capacity(), working.deliveries.oldest()) == (5, None)


async def test_events_before_the_beginning_are_not_sent() -> None:
    receiver, now = Receiver(), time.time_ns() // 1000
    async with notifying(receiver, endpoint=replace(ENDPOINT, since=now + 60_000_000)) as working:
        await working.close("O1")
        await working.end()
    assert receiver.attempts == []


async def test_replay_reaches_only_the_endpoint_that_it_is_for() -> None:
    receiver, body = Receiver(), value("settlement", EVENTS["settlement"])
    async with notifying(receiver) as working:
        for name in (b"crm", b"billing", b""):
            await working.take_bytes(NOTIFY_REPLAYS.name, body, headers=[(HEADER, name)])
        await working.take_bytes(NOTIFY_REPLAYS.name, body)
        await working.end()
    assert len(receiver.attempts) == 1


async def test_replay_for_another_reader_of_the_topic_is_not_sent() -> None:
    receiver = Receiver()
    async with notifying(receiver) as working:
        for body in (b"junk", value("settlement", EVENTS["settlement"])):
            await working.take_bytes("settlement", body, headers=[("source", b"replay")])
        await working.end()
    assert (receiver.attempts, working.dead_letters()) == ([], [])


@pytest.mark.parametrize("topic", [*EVENTS, NOTIFY_REPLAYS.name])
async def test_broken_record_becomes_a_dead_letter_and_stops_nothing(topic: str) -> None:
    receiver, headers = Receiver(), [(HEADER, b"billing")]
    bodies = [b"junk", UNKNOWN_SCHEMA]
    async with notifying(receiver) as working:
        for body in bodies:
            await working.take_bytes(topic, body, headers=headers)
        await working.close("O1")
        await working.end()
    assert [letter.value for letter in working.dead_letters()] == bodies
    assert len(receiver.accepted) == 1


async def test_schema_lookup_does_not_block_the_event_loop() -> None:
    receiver, body = Receiver(), value("anomalies", EVENTS["anomalies"])
    codecs, let_end = slow_registry(SCHEMAS["anomalies"].text)
    async with notifying(receiver, codecs=codecs) as working:
        await asyncio.gather(working.take_bytes("anomalies", with_foreign_id(body)), let_end())
        await working.end()
    assert len(receiver.accepted) == 1


async def test_secrets_and_url_are_nowhere_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret_url = replace(ENDPOINT, url="http://receiver.test/t0k3n", secrets=(OTHER_SECRET, SECRET))
    async with notifying(Receiver(), GIVES_UP, secret_url) as working:
        await working.close("O1")
        await working.end()
    ours = [one.getMessage() for one in caplog.records if one.name.startswith("connectors")]
    shown = f"{ours} {secret_url!r} {[letter.headers for letter in working.dead_letters()]}"
    assert "answers 404" in shown
    for hidden in (SECRET, OTHER_SECRET, "t0k3n"):
        assert hidden.removeprefix("whsec_") not in shown


async def test_delivery_of_a_partition_that_moved_is_dropped() -> None:
    receiver = Receiver(answer=statuses(500, 500))
    async with notifying(receiver) as working:
        await working.close("O1")
        await until(lambda: len(receiver.attempts) > 0, "the first attempt")
        working.tracker.live = False
        await until(lambda: working.deliveries.capacity() == QUICK.max_held, "the end of it")
    assert working.dead_letters() == []
