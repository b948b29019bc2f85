"""Dead letters: parse the filter, collect resolutions, replay each record as it was received."""

from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Producer

from connectors.clock import micros_now
from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.triage import audit, reader, resolution
from connectors.triage import replay as replay_module
from connectors.triage.audit import Mark
from connectors.triage.dead_letter import BadPlace, DeadLetter, Place, parse_place
from connectors.triage.filter import BadTime, Filter, parse_time
from connectors.triage.replay import ReplayFailed, replay, select
from schemas.codec import REPLAY
from schemas.records import Notice
from tests.support.codecs import CODECS
from tests.support.reading import read_all
from tests.support.waiting import until_sync

AT = 1_700_000_000_000_000
HEADERS = (
    ("provider", b"ping"),
    ("source", b"callback"),
    ("received-at", b"1700000000000"),
    ("x-odd", b"\xff\x00"),
    ("stage", b"normalize"),
    ("reason", b"Unknown word 'SETTLING'"),
    ("origin", b"callbacks.ping/1/7"),
)
REPLAYED: Any = {"dead_letter": "dead-letters/0/1", "at": AT}


def dead_letter(**changes: Any) -> DeadLetter:
    return replace(DeadLetter(Place(0, 1), AT, b"ping:l-1", HEADERS, b"{}"), **changes)


def marked(after: int = 0, *, resolved: bool = True, note: str = "") -> Notice:
    return audit.dead_letter_marked(dead_letter(), Mark(resolved, "ada", AT + after, note))


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        (Filter(), True),
        (Filter(places=[Place(0, 1)]), True),
        (Filter(places=[Place(1, 0)]), False),
        (Filter(reason="UNKNOWN WORD"), True),
        (Filter(reason="no JSON"), False),
        (Filter(stage="normalize"), True),
        (Filter(stage="track"), False),
        (Filter(provider="ping"), True),
        (Filter(provider="peach"), False),
        (Filter(link_id="l-1"), True),
        (Filter(link_id="l-10"), False),
        (Filter(since=AT), True),
        (Filter(since=AT + 1), False),
        (Filter(until=AT + 1), True),
        (Filter(until=AT), False),
        (Filter(provider="ping", reason="word", since=AT, until=AT + 1), True),
    ],
)
def test_each_condition_narrows_the_filter(where: Filter, matches: bool) -> None:
    assert where.matches(dead_letter()) is matches


def test_provider_of_an_event_comes_from_its_key() -> None:
    event = dead_letter(headers=(("origin", b"link-events/0/3"),), key=b"peach:l:1")
    assert (event.provider, event.link_id) == ("peach", "l:1")
    assert replace(event, key=None).provider == ""


def test_headers_of_the_latest_dead_lettering_count() -> None:
    twice = dead_letter(headers=(*HEADERS, ("reason", b"later"), ("origin", b"links/0/1")))
    assert (twice.reason, twice.topic) == ("later", "links")


def test_second_replay_replaces_the_headers_of_the_first() -> None:
    first = dead_letter().replay_headers("r-1")
    headers = dead_letter(headers=(*first, *HEADERS[-3:])).replay_headers("r-2")
    assert headers == [*HEADERS[:1], *HEADERS[2:4], *first[-3:-1], ("replay-id", b"r-2")]


@pytest.mark.parametrize(
    "text", ["", "0", "0/", "/1", "a/1", "0/1/2", "-1/2", "0/٣", f"0/{19 * '9'}"]
)
def test_text_that_is_not_a_place_is_refused(text: str) -> None:
    with pytest.raises(BadPlace):
        parse_place(text)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("30s", AT - 30_000_000),
        ("2h", AT - 7_200_000_000),
        ("3 d", AT - 259_200_000_000),
        ("2023-11-14T22:13:20Z", AT),
        ("2023-11-14T23:13:20.000005+01:00", AT + 5),
    ],
)
def test_time_is_an_age_or_rfc_3339(text: str, micros: int) -> None:
    assert parse_time(text, AT) == micros


@pytest.mark.parametrize("text", ["", "2x", "yesterday", "2023-11-14T22:13:20", "9999999h"])
def test_text_that_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(BadTime):
        parse_time(text, AT)


def test_replay_or_mark_older_than_the_dead_letter_does_not_apply() -> None:
    """A recreated topic restarts its offsets: another dead letter had this place."""
    replayed, resolved = resolution.collect([REPLAYED], []), resolution.collect([], [marked()])
    for known in (replayed, resolved):
        assert not known.is_open(dead_letter())
        assert known.is_open(dead_letter(at=AT + 1))
    assert replayed.replay_of(dead_letter(at=AT + 1)) is None
    assert resolved.mark_of(dead_letter(at=AT + 1)) is None


def test_mark_by_a_late_clock_applies() -> None:
    assert resolution.collect([], [marked(-1)]).mark_of(dead_letter()) == Mark(True, "ada", AT)


@pytest.mark.kafka
def test_replay_by_a_late_clock_applies(kafka: Cluster) -> None:
    (buried,) = bury(kafka, dead_letter())
    ahead = replace(buried, at=micros_now() + 3_600_000_000)
    replay(kafka, CODECS, [ahead], "ada")
    # A commit is answered before its records can be read (KIP-98).
    until_sync(lambda: bool(resolution.read(kafka, CODECS).replay_of(ahead)), "the replay")


def test_latest_mark_counts_and_a_later_replay_cancels_it() -> None:
    marks = [marked(n, resolved=n != 1, note=str(n)) for n in range(3)]
    for some in permutations(marks):
        known = resolution.collect([REPLAYED | {"at": AT + 1}], some)
        assert known.marks == {"dead-letters/0/1": Mark(True, "ada", AT + 2, "2")}
        assert resolution.collect([REPLAYED | {"at": AT + 3}], some).marks == {}
    assert resolution.collect([], [marks[1]]).is_open(dead_letter())


def bury(cluster: Cluster, *dead_letters: DeadLetter) -> list[DeadLetter]:
    """Publish dead letters; returns all that the topic holds then."""
    producer = Producer(sync_producer.settings(cluster))
    for one in dead_letters:
        topic = cluster.topic("dead-letters")
        producer.produce(topic, one.body, one.key, partition=0, headers=list(one.headers))
    assert producer.flush(30) == 0
    return list(reader.dead_letters(cluster, Filter()))


@pytest.mark.kafka
def test_replay_publishes_the_record_as_it_was_received(kafka: Cluster) -> None:
    (buried,) = bury(kafka, dead_letter(body=b"\x00\xffbytes"))
    assert replay(kafka, CODECS, [buried], "ada") == {"callbacks.ping": 1}
    (again,) = read_all(kafka, "callbacks.ping")
    headers = dict(again.headers() or [])
    assert (again.key(), again.value()) == (b"ping:l-1", b"\x00\xffbytes")
    assert headers["source"] == b"replay"
    assert headers["replay-of"] == b"dead-letters/0/0"
    assert headers["x-odd"] == b"\xff\x00"
    received = {"provider", "received-at", "x-odd"}
    assert headers.keys() == received | {"source", "replay-of", "replay-id"}
    (note,) = read_all(kafka, "replays")
    record = CODECS.decode(REPLAY, note.value())
    assert record["dead_letter"] == "dead-letters/0/0"
    assert (record["by"], record["target"]) == ("ada", "callbacks.ping")
    assert record["event_id"].encode() == headers["replay-id"]
    assert list(reader.replays(kafka, CODECS)) == [record]


@pytest.mark.kafka
def test_reader_finds_dead_letters_by_place_and_by_condition(kafka: Cluster) -> None:
    other = dead_letter(key=b"peach:l-2", headers=(("origin", b"callbacks.peach/0/0"),))
    first, second = bury(kafka, dead_letter(), other)
    assert list(reader.dead_letters(kafka, Filter(places=[second.place]))) == [second]
    assert list(reader.dead_letters(kafka, Filter(provider="ping"))) == [first]
    for missing in (Place(0, 99), Place(9, 0)):
        with pytest.raises(reader.NoSuchDeadLetter):
            list(reader.dead_letters(kafka, Filter(places=[missing])))


@pytest.mark.kafka
def test_resolved_dead_letter_is_replayed_only_by_its_place_which_reopens_it(
    kafka: Cluster,
) -> None:
    junk, good = bury(kafka, dead_letter(), dead_letter())
    resolution.mark_all(kafka, CODECS, [junk], Mark(True, "ada", micros_now()))
    for again in (False, True):
        assert select(kafka, CODECS, Filter(provider="ping"), again=again) == [good]
    named = select(kafka, CODECS, Filter(places=[junk.place]), again=True)
    assert named == [junk]
    assert replay(kafka, CODECS, named, "bob").total() == 1
    assert resolution.read(kafka, CODECS).marks == {}
    assert select(kafka, CODECS, Filter(), again=False) == [good]
    assert select(kafka, CODECS, Filter(), again=True) == [junk, good]


@pytest.mark.kafka
def test_replay_keeps_to_its_rate(kafka: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    buried = bury(kafka, *(dead_letter(body=b"%d" % n) for n in range(6)))
    # On a stopped clock publishing takes no time: replay sleeps for the whole second.
    steps: list[int | str] = []
    stopped = SimpleNamespace(monotonic=lambda: 7.0, sleep=lambda s: steps.append(f"{s} s"))
    monkeypatch.setattr(replay_module, "time", stopped)
    replay(kafka, CODECS, buried, "ada", per_second=4.0, advance=steps.append)
    assert steps == [4, "1.0 s", 2]
    assert len(read_all(kafka, "callbacks.ping")) == 6


@pytest.mark.kafka
def test_dead_letter_without_origin_fails_its_whole_transaction(kafka: Cluster) -> None:
    """Nothing of the transaction is published, and the message says so."""
    buried = bury(kafka, dead_letter(), dead_letter(headers=(("reason", b"?"),)))
    with pytest.raises(ReplayFailed, match=r"0 were published again.*0/1 does not name"):
        replay(kafka, CODECS, buried, "ada")
    assert read_all(kafka, "callbacks.ping") == []
    assert read_all(kafka, "replays") == []
