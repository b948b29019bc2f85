"""The agent `normalize` reads what other processes wrote as they meant it."""

import gzip
import json
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import REGISTRY

from connectors.kafka.partitioner import partition_of
from connectors.providers import raw
from connectors.providers.base import Provider
from connectors.providers.ipint import IPint, IPintConfig
from connectors.providers.peach import Peach, PeachConfig
from connectors.providers.ping import Ping, PingConfig
from connectors.providers.truelayer import TrueLayer, TrueLayerConfig
from connectors.triage.dead_letter import DeadLetter, Place
from schemas.codec import ANOMALY, LINK_EVENT, LOOKUP_REQUEST, NOTICE
from schemas.headers import Headers
from schemas.limits import ITEM_DEAD_LETTERS
from schemas.records import LinkEvent, LookupRequest
from schemas.topics import (
    ANOMALIES,
    DEAD_LETTERS,
    LINK_FACTS,
    LOOKUPS,
    NOTICES,
    ORDER_CLOSE,
    message_key,
)
from streams.agents.normalize import Normalize
from streams.agents.stages import stage_spec
from streams.domain import track as domain
from streams.domain.polling import Intervals
from streams.domain.rules import ProviderRules
from streams.domain.track import TrackOutcome
from streams.engine.batch import Batch, Output
from streams.rebuild.in_memory import InMemoryPipeline, Record
from tests.example_provider.acme import Acme, AcmeConfig
from tests.support.codecs import CODECS


def normalize(provider: Provider, key: bytes, body: bytes, headers: Headers) -> list[Output]:
    """Return the outputs of a raw record."""
    # Not the partition of the key, so that nothing is handed on in memory.
    partition = 1 - partition_of(key, 2)
    record: Any = Record(f"callbacks.{provider.name}", key, body, headers, 0, partition)
    batch = Batch(stage_spec(CODECS, [provider.name]), [record], {}, "", 2)
    Normalize(CODECS, {provider.name: provider}).handle(batch)
    batch.committed()
    return batch.outputs


@pytest.mark.parametrize("link_id", ["i1", "fakturanummer-å", "שלום-ø🎉"])
def test_not_found_denies_the_claim_of_a_link_id_in_any_script(link_id: str) -> None:
    request: LookupRequest = {
        "request_id": "r",
        "provider": "ipint",
        "link_id": link_id,
        "reason": "CLAIM",
        "claimed_status": "PAID",
        "payment_id": None,
        "refund": None,
        "issued": False,
        "requested_at": 1,
    }
    headers = [
        *raw.headers("ipint", "lookup", True, "application/json"),
        *raw.answer_headers(request, 404, final=True),
    ]
    (output,) = normalize(IPint(IPintConfig()), message_key("ipint", link_id), b"", headers)
    assert output.topic == LINK_FACTS.name
    event = CODECS.decode(LINK_EVENT, output.value)
    assert (event["link_id"], event["denies"]) == (link_id, "PAID")


@pytest.mark.parametrize("credentials", [True, False])
def test_batch_event_is_a_notice_and_looked_up_if_there_are_credentials(credentials: bool) -> None:
    config = {"client_id": "me", "client_secret": "s3cret", "merchant_id": "m"}
    peach = Peach(PeachConfig.model_validate(config if credentials else {}))
    headers = raw.headers("peach", "callback", False, "application/json")
    body = b'{"batchId": "b1", "status": "completed"}'
    notice, *lookups = normalize(peach, b"peach:b1", body, headers)
    assert notice.topic == NOTICES.name
    assert CODECS.decode(NOTICE, notice.value)["status"] == "completed"
    assert len(lookups) == credentials
    for lookup in lookups:
        assert (lookup.topic, lookup.key) == (LOOKUPS.name, b"peach:batches/b1")
        request = CODECS.decode(LOOKUP_REQUEST, lookup.value)
        assert (request["link_id"], request["reason"]) == ("batches/b1", "CLAIM")


# Of a type, or with a word, that no rule knows. Only the last one names a link.
OF_TRUELAYER = b'{"type": "moon_phase_changed", "payment_id": "p1"}'
OF_PEACH = b'{"type": "moon_phase_changed", "status": "full"}'
OF_A_LINK = b'{"paymentId": "L1", "status": "levitating"}'


@pytest.mark.parametrize(
    ("provider", "body", "verified", "topics"),
    [
        (TrueLayer(TrueLayerConfig()), OF_TRUELAYER, True, {NOTICES.name}),
        (Peach(PeachConfig(), "peach_ke"), OF_PEACH, True, {NOTICES.name}),
        (Peach(PeachConfig()), OF_PEACH, False, {DEAD_LETTERS.name}),
        (Peach(PeachConfig()), OF_A_LINK, True, {DEAD_LETTERS.name, ANOMALIES.name}),
        (Ping(PingConfig()), OF_PEACH, False, {DEAD_LETTERS.name}),
        (IPint(IPintConfig()), OF_PEACH, False, {DEAD_LETTERS.name}),
    ],
    ids=["truelayer", "account of peach", "unsigned", "of a link", "ping", "ipint"],
)
def test_g3_proven_event_of_an_unknown_type_is_a_notice_and_counted(
    provider: Provider, body: bytes, verified: bool, topics: set[str]
) -> None:
    before = unknown_events(provider)
    headers = raw.headers(provider.name, "callback", verified, "application/json")
    outputs = normalize(provider, message_key(provider.name, "x"), body, headers)
    assert {output.topic for output in outputs} == topics
    is_notice = topics == {NOTICES.name}
    assert unknown_events(provider) == before + is_notice
    if is_notice:
        notice = CODECS.decode(NOTICE, outputs[0].value)
        assert (notice["kind"], notice["status"]) == ("unknown_event", "moon_phase_changed")


def unknown_events(provider: Provider) -> float:
    labels = {"provider": provider.name}
    return REGISTRY.get_sample_value("linkstatus_unknown_events_total", labels) or 0.0


IPINT_BODY = b'{"invoice_id": "i1", "status": "PROCESSING"}'


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(IPINT_BODY, mtime=0), b"gzip"),
        (zlib.compress(IPINT_BODY), b"deflate"),
        (b"\xef\xbb\xbf" + IPINT_BODY, b"identity"),
    ],
    ids=["gzip", "deflate", "byte order mark"],
)
def test_a4_a5_encoded_callback_is_read(body: bytes, encoding: bytes) -> None:
    headers = raw.headers("ipint", "callback", False, "application/json")
    headers.append(("content-encoding", encoding))
    (output,) = normalize(IPint(IPintConfig()), b"ipint:i1", body, headers)
    event = CODECS.decode(LINK_EVENT, output.value)
    assert (event["link_id"], event["status"]) == ("i1", "PROCESSING")


def test_a4_dead_letter_of_an_encoding_that_is_not_supported_names_it() -> None:
    headers = raw.headers("ipint", "callback", False, "application/json")
    headers.append(("content-encoding", b"br"))
    (output,) = normalize(IPint(IPintConfig()), b"ipint:i1", IPINT_BODY, headers)
    assert output.topic == DEAD_LETTERS.name
    assert (output.value, b"'br'" in dict(output.headers or [])["reason"]) == (IPINT_BODY, True)


def batch_of(*events: Any) -> bytes:
    return json.dumps({"events": events}).encode()


def normalize_batch(body: bytes, headers: Headers | None = None) -> list[Output]:
    headers = headers or raw.headers("acme", "callback", True, "application/json")
    return normalize(Acme(AcmeConfig()), b"acme:a1", body, headers)


def again(letter: Output) -> list[Output]:
    """Return the outputs of the replay of a dead letter."""
    place, headers = (
        Place(0, 7),
        tuple((name, value or b"") for name, value in letter.headers or ()),
    )
    replayed = DeadLetter(place, 0, letter.key, headers, letter.value)
    return normalize_batch(letter.value or b"", replayed.replay_headers("r"))


def items(outputs: Sequence[Output]) -> list[tuple[str | None, str]]:
    """Return item and reason of each dead letter."""
    headers = [dict(o.headers or ()) for o in outputs if o.topic == DEAD_LETTERS.name]
    texts = [{name: (value or b"").decode() for name, value in one.items()} for one in headers]
    return [(one.get("item"), one["reason"]) for one in texts]


BROKEN = {"link": 5, "state": "open"}


def test_c4_broken_events_of_a_batch_are_dead_letters_of_their_own() -> None:
    body = batch_of({"link": "a1", "state": "paid"}, BROKEN, {"link": "a2", "state": "glowing"})
    event, broken, glowing, unknown = normalize_batch(body)
    assert CODECS.decode(LINK_EVENT, event.value)["status"] == "PAID"
    assert items([broken, glowing]) == [
        ("events.1", "link: must be text"),
        ("events.2", "unknown status 'glowing'"),
    ]
    assert (broken.value, glowing.value) == (body, body)
    assert CODECS.decode(ANOMALY, unknown.value)["link_id"] == "a2"


def test_replay_of_a_refused_event_doubles_no_neighbour() -> None:
    body = batch_of({"link": "a1", "state": "paid"}, BROKEN, {"link": "a3", "state": "paid"})
    (letter,) = [one for one in normalize_batch(body) if one.topic == DEAD_LETTERS.name]
    # It fails again: the same dead letter, and nothing else.
    (same,) = again(letter)
    assert items([same]) == items([letter])
    # Once the item can be read, it is the only fact. The rule is mended; here the item is.
    mended = letter._replace(value=body.replace(b"5", b'"a2"'))
    (event,) = again(mended)
    assert CODECS.decode(LINK_EVENT, event.value)["link_id"] == "a2"


def test_replay_of_an_item_that_the_body_does_not_have_is_refused() -> None:
    (_, letter) = normalize_batch(batch_of({"link": "a1", "state": "paid"}, BROKEN))
    (same,) = again(letter._replace(value=batch_of({"link": "a1", "state": "paid"})))
    assert items([same]) == [("events.1", "there is no events.1")]


@pytest.mark.parametrize("over", [-1, 0, 1, 2])
def test_refused_events_beyond_the_limit_share_one_dead_letter(over: int) -> None:
    number = ITEM_DEAD_LETTERS + over
    letters = normalize_batch(batch_of(*[BROKEN] * number))
    found = items(letters)
    assert [item for item, _ in found[:ITEM_DEAD_LETTERS]] == [
        f"events.{n}" for n in range(min(number, ITEM_DEAD_LETTERS))
    ]
    shared = [reason for item, reason in found if item is None]
    assert len(shared) == (over > 0)
    for reason in shared:
        assert reason.count("events.") == over
        # Its replay reads the whole body.
        assert len(again(letters[-1])) == len(letters)


def test_event_of_a_batch_that_fails_in_a_later_step_is_a_dead_letter_without_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def track(row: Any, event: LinkEvent, rules: ProviderRules) -> TrackOutcome:
        if event["link_id"] == "a2":
            raise ZeroDivisionError("a defect")
        return domain.track(row, event, rules)

    monkeypatch.setattr("streams.agents.track.track", track)
    acme = {"acme": Acme(AcmeConfig())}
    pipeline = InMemoryPipeline(CODECS, acme, {"acme": ProviderRules()}, Intervals())
    body = batch_of(*({"link": link, "state": "paid"} for link in ("a1", "a2", "a3")))
    headers = raw.headers("acme", "callback", True, "application/json")
    outputs = pipeline.process(Record("callbacks.acme", b"acme:a1", body, headers, 1))
    closed = [o.key for o in outputs if o.topic == ORDER_CLOSE.name]
    assert closed == [b"acme:a1", b"acme:a3"]
    (letter,) = [o for o in outputs if o.topic == DEAD_LETTERS.name]
    assert letter.key == b"acme:a2"
    assert dict(letter.headers or ())["origin"].startswith(b"link-facts/")


@pytest.mark.parametrize("verified", [True, False])
def test_proven_question_of_a_provider_takes_the_fast_lane(verified: bool) -> None:
    headers = raw.headers("acme", "callback", verified, "application/json")
    notice, lookup = normalize(Acme(AcmeConfig()), b"acme:b1", b'{"batch": "b1"}', headers)
    assert notice.topic == NOTICES.name
    request = CODECS.decode(LOOKUP_REQUEST, lookup.value)
    assert (request["link_id"], request["issued"]) == ("batches/b1", verified)
