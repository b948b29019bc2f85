"""Dead letters: which are meant, and that publishing one again repeats what came in, once."""

from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Producer

from connectors import noting, producing
from connectors.clock import micros_now
from connectors.kafka import Cluster
from connectors.letters import dealt, reading
from connectors.letters import replay as replaying
from connectors.letters.letter import BadPlace, Letter, Place, Wanted, place
from connectors.letters.moment import BadMoment, moment
from connectors.letters.replay import NotReplayed, chosen
from connectors.letters.replay import replay as publish_again
from connectors.noting import Mark
from schemas.codec import REPLAY
from tests.reading import read_all

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


def letter(**changes: Any) -> Letter:
    return replace(Letter(Place(0, 1), AT, b"ping:l-1", HEADERS, b"{}"), **changes)


@pytest.mark.parametrize(
    ("wanted", "included"),
    [
        (Wanted(), True),
        (Wanted(places=[Place(0, 1)]), True),
        (Wanted(places=[Place(1, 0)]), False),
        (Wanted(reason="UNKNOWN WORD"), True),
        (Wanted(reason="no JSON"), False),
        (Wanted(stage="normalize"), True),
        (Wanted(stage="track"), False),
        (Wanted(provider="ping"), True),
        (Wanted(provider="peach"), False),
        (Wanted(link_id="l-1"), True),
        (Wanted(link_id="l-10"), False),
        (Wanted(since=AT), True),
        (Wanted(since=AT + 1), False),
        (Wanted(until=AT + 1), True),
        (Wanted(until=AT), False),
        (Wanted(provider="ping", reason="word", since=AT, until=AT + 1), True),
    ],
)
def test_each_word_narrows(wanted: Wanted, included: bool) -> None:
    assert wanted.includes(letter()) is included


def test_the_provider_of_a_fact_is_in_its_key() -> None:
    headers = (("origin", b"link-events/0/3"),)
    assert letter(headers=headers, key=b"peach:l:1").provider == "peach"
    assert letter(headers=headers, key=b"peach:l:1").link_id == "l:1"
    assert letter(headers=headers, key=None).provider == ""


def test_a_second_death_is_told_by_its_own_reason() -> None:
    twice = letter(headers=(*HEADERS, ("reason", b"later"), ("origin", b"links/0/1")))
    assert (twice.reason, twice.topic) == ("later", "links")


@pytest.mark.parametrize(
    "text", ["", "0", "0/", "/1", "a/1", "0/1/2", "-1/2", "0/٣", f"0/{19 * '9'}"]
)
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(BadPlace):
        place(text)


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
def test_a_moment_is_an_age_or_a_time(text: str, micros: int) -> None:
    assert moment(text, AT) == micros


@pytest.mark.parametrize("text", ["", "2x", "yesterday", "2023-11-14T22:13:20", "9999999h"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(BadMoment):
        moment(text, AT)


def test_what_was_said_before_a_letter_was_there_is_of_another() -> None:
    """Topics were made anew: their offsets begin again."""
    replayed: Any = {"letter": "dead-letters/0/1", "at": AT}
    aside = noting.of_letter(letter(), Mark(True, "ada", AT))
    for known in (dealt.told([replayed], []), dealt.told([], [aside])):
        assert not known.is_open(letter())
        assert known.is_open(letter(at=AT + 1))
    assert dealt.told([replayed], []).replay_of(letter(at=AT + 1)) is None
    assert dealt.told([], [aside]).mark_of(letter(at=AT + 1)) is None


def test_a_mark_by_a_clock_that_is_behind_counts() -> None:
    mark = noting.of_letter(letter(), Mark(True, "ada", AT - 1))
    assert dealt.told([], [mark]).mark_of(letter()) == Mark(True, "ada", AT)


@pytest.mark.kafka
def test_a_replay_by_a_clock_that_is_behind_counts(kafka: Cluster) -> None:
    (buried,) = bury(kafka, letter())
    ahead = replace(buried, at=micros_now() + 3_600_000_000)
    publish_again(kafka, [ahead], "ada")
    assert dealt.read(kafka).replay_of(ahead)


def test_of_several_words_the_latest_counts_and_a_later_replay_takes_them_back() -> None:
    words = [noting.of_letter(letter(), Mark(n != 1, "ada", AT + n, str(n))) for n in range(3)]
    replayed: Any = {"letter": "dead-letters/0/1"}
    for some in permutations(words):
        known = dealt.told([replayed | {"at": AT + 1}], some)
        assert known.aside == {"dead-letters/0/1": Mark(True, "ada", AT + 2, "2")}
        assert dealt.told([replayed | {"at": AT + 3}], some).aside == {}
    assert dealt.told([], [words[1]]).is_open(letter())


def bury(cluster: Cluster, *letters: Letter) -> list[Letter]:
    """Puts them on the topic; what stands there then."""
    producer = Producer(producing.settings(cluster))
    for one in letters:
        topic = cluster.topic("dead-letters")
        producer.produce(topic, one.body, one.key, partition=0, headers=list(one.headers))
    assert producer.flush(30) == 0
    return list(reading.letters(cluster, Wanted()))


@pytest.mark.kafka
def test_a_replayed_record_is_the_one_that_came_in(kafka: Cluster) -> None:
    (buried,) = bury(kafka, letter(body=b"\x00\xffbytes"))
    sent = publish_again(kafka, [buried], "ada")
    assert sent == {"callbacks.ping": 1}
    (again,) = read_all(kafka, "callbacks.ping")
    headers = dict(again.headers() or [])
    assert (again.key(), again.value()) == (b"ping:l-1", b"\x00\xffbytes")
    assert headers["source"] == b"replay"
    assert headers["replay-of"] == b"dead-letters/0/0"
    assert headers["x-odd"] == b"\xff\x00"
    came_in = {"provider", "received-at", "x-odd"}
    assert headers.keys() == came_in | {"source", "replay-of", "replay-id"}
    (note,) = read_all(kafka, "replays")
    said = REPLAY.decode(note.value())
    assert (said["letter"], said["by"], said["to"]) == ("dead-letters/0/0", "ada", "callbacks.ping")
    assert said["event_id"].encode() == headers["replay-id"]
    assert list(reading.replays(kafka)) == [said]


@pytest.mark.kafka
def test_a_replayed_record_that_dies_again_is_replayed_once_more_without_its_marks(
    kafka: Cluster,
) -> None:
    (first,) = bury(kafka, letter())
    died = letter(headers=(*first.again("r-1"), *HEADERS[-3:]))
    second = bury(kafka, died)[-1]
    publish_again(kafka, [second], "ada")
    (again,) = read_all(kafka, "callbacks.ping")
    headers = again.headers() or []
    assert len(headers) == len(dict(headers))
    assert dict(again.headers() or [])["replay-of"] == second.name.encode()


@pytest.mark.kafka
def test_they_are_found_by_place_and_by_what_one_remembers(kafka: Cluster) -> None:
    other = letter(key=b"peach:l-2", headers=(("origin", b"callbacks.peach/0/0"),))
    first, second = bury(kafka, letter(), other)
    assert list(reading.letters(kafka, Wanted(places=[second.place]))) == [second]
    assert list(reading.letters(kafka, Wanted(provider="ping"))) == [first]
    for gone in (Place(0, 99), Place(9, 0)):
        with pytest.raises(reading.NoSuchLetter):
            list(reading.letters(kafka, Wanted(places=[gone])))


@pytest.mark.kafka
def test_what_is_set_aside_is_replayed_only_by_its_place_which_takes_it_back(
    kafka: Cluster,
) -> None:
    junk, good = bury(kafka, letter(), letter())
    dealt.say(kafka, [junk], Mark(True, "ada", micros_now()))
    for again in (False, True):
        assert chosen(kafka, Wanted(provider="ping"), again=again) == [good]
    named = Wanted(places=[junk.place])
    assert chosen(kafka, named, again=True) == [junk]
    assert publish_again(kafka, chosen(kafka, named, again=True), "bob").total() == 1
    assert dealt.read(kafka).aside == {}
    assert chosen(kafka, Wanted(), again=False) == [good]
    assert chosen(kafka, Wanted(), again=True) == [junk, good]


@pytest.mark.kafka
def test_no_more_a_second_than_asked(kafka: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    buried = bury(kafka, *(letter(body=b"%d" % n) for n in range(6)))
    # On a clock that stands still, publishing takes no time and the rest is all waited.
    told: list[int | str] = []
    still = SimpleNamespace(monotonic=lambda: 7.0, sleep=lambda s: told.append(f"{s} s"))
    monkeypatch.setattr(replaying, "time", still)
    publish_again(kafka, buried, "ada", per_second=4.0, done=told.append)
    assert told == [4, "1.0 s", 2]
    assert len(read_all(kafka, "callbacks.ping")) == 6


@pytest.mark.kafka
def test_one_that_does_not_say_where_it_came_from_takes_its_neighbours_along(
    kafka: Cluster,
) -> None:
    """They are in one transaction: nothing of it is published, and the message says so."""
    lost = letter(headers=(("reason", b"?"),))
    buried = bury(kafka, letter(), lost)
    with pytest.raises(NotReplayed, match=r"0 were published again.*0/1 does not say"):
        publish_again(kafka, buried, "ada")
    assert read_all(kafka, "callbacks.ping") == []
    assert read_all(kafka, "replays") == []
