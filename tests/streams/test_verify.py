"""`linkstatus verify` agrees with what the rules made of the inputs, and names what was broken."""

import json
import time
from typing import Any

import pytest

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from schemas import topics
from streams.rebuild.in_memory import Record
from streams.verify import Verification, verify
from tests.streams.rebuild.test_rebuild import NOW, callback, publish, rebuilt, registered
from tests.support.codecs import CODECS
from tests.support.reading import read_all, values
from tests.support.shell import Shell

pytestmark = pytest.mark.kafka


def check(cluster: Cluster) -> Verification:
    providers = {name: kind(kind.Config()) for name, kind in PROVIDERS.items()}
    # The records are from the past hour.
    return verify(cluster, CODECS, providers, time.time_ns() // 1000 + 1_000_000)


def write(cluster: Cluster, topic: topics.Topic[Any], record: Any, id_: str) -> None:
    key = topics.message_key(record["provider"], record[id_])
    value = None if topic.schema is None else CODECS.encode(topic.schema, record)
    publish(cluster, [Record(topic.name, key, value, [], NOW + 100_000)])


def test_each_difference_is_named_with_its_record(kafka: Cluster, linkstatus: Shell) -> None:
    words = ("opened", "completed", "completed", "nonsense")
    publish(kafka, [registered(f"L{n}", f"O{n}", NOW + n) for n in range(8)])
    publish(kafka, [callback(f"L{n % 8}", words[n % 4], NOW + 50 + n) for n in range(16)])
    good = rebuilt(kafka, "good.")
    result = check(good)
    assert result.differences == []
    closes = values(good, topics.ORDER_CLOSE)
    assert result.counts == {
        "callbacks": 16,
        "answers": 0,
        "waiting": 0,
        "links": 8,
        "closes": len(closes),
        "settlements": len(values(good, topics.SETTLEMENT)),
    }
    assert len(closes) == 4

    # The worker has not been there yet. The other one says what is known: nothing waits for it.
    known = callback("L0", "opened", NOW + 90_001)
    publish(good, [callback("L9", "completed", NOW + 90_000), known])
    assert (check(good).counts["waiting"], check(good).differences) == (1, [])

    close, order = closes[0], closes[0]["order_id"]
    write(good, topics.ORDER_CLOSE, close, "order_id")
    assert check(good).differences == [], "the same decision again is a repeat"
    write(good, topics.ORDER_CLOSE, {**close, "event_id": "other"}, "order_id")
    lost = {**close, "order_id": "lost", "event_id": "lost", "links": []}
    write(good, topics.ORDER_CLOSE, lost, "order_id")
    open_link = {**close["links"][0], "link_id": "L0"}
    unpaid = {**lost, "order_id": order, "event_id": "other", "links": [open_link]}
    write(good, topics.ORDER_CLOSE, unpaid, "order_id")
    settlement = values(good, topics.SETTLEMENT)[0]
    stray = {**settlement, "event_id": "stray", "order_id": "stray"}
    write(good, topics.SETTLEMENT, stray, "order_id")
    write(good, topics.SETTLEMENT, {**settlement, "event_id": "again"}, "order_id")
    row = next(row for row in values(good, topics.ORDERS) if row["state"] == "OPEN")
    decided = {**row, "state": "SETTLED", "decided_at": NOW * 1000}
    write(good, topics.ORDERS, decided, "order_id")
    status = {**values(good, topics.LINK_STATUS)[0], "link_id": "invented"}
    write(good, topics.LINK_STATUS, status, "link_id")
    event = {
        **values(good, topics.LINK_EVENTS)[0],
        "link_id": "L1",
        "origin": "callbacks.peach/0/0",
    }
    write(good, topics.LINK_EVENTS, {**event, "link_id": "gone"}, "link_id")
    found = {what: name for what, name in check(good).differences}
    assert found == {
        "a link without an event": "peach:invented",
        "a proven link event without its link": "peach:gone",
        "an order that closed more than once": f"peach:{order}",
        "a close without its order": "peach:lost",
        "a decided order without its close": f"peach:{row['order_id']}",
        "a close with a link that is not paid": f"peach:{order}, link peach:L0",
        "an order that settled more than once": f"peach:{settlement['order_id']}, EXPECTED",
        "a settlement without a close": "peach:stray",
        "a settled order without its confirmation": f"peach:{row['order_id']}",
    }

    linkstatus.set(TOPIC_PREFIX=good.prefix)
    ran = linkstatus.run("verify", "--by", "ada", "--json")
    assert ran.code == 1
    assert {one["what"]: one["name"] for one in json.loads(ran.out)["differences"]} == found
    (notice,) = (n for n in values(good, topics.NOTICES) if n["kind"] == "topics_verified")
    assert (notice["status"], notice["attributes"]["differences"]) == ("differs", "9")
    assert notice["attributes"]["by"] == "ada"


def test_callback_without_an_effect_is_named_and_a_repeat_is_none(kafka: Cluster) -> None:
    publish(kafka, [callback("L1", "opened", NOW), callback("L2", "completed", NOW + 1)])
    good = rebuilt(kafka, "good.")
    event = values(good, topics.LINK_EVENTS)[0]
    # The worker has passed over both: it has handled a later record of their partition.
    repeat, lost = callback("L1", "opened", NOW + 2), callback("L1", "expired", NOW + 3)
    publish(good, [repeat, lost, callback("L1", "processing", NOW + 4)])
    places = [
        f"callbacks.peach/{m.partition()}/{m.offset()}"
        for m in read_all(good, "callbacks.peach")
        if m.key() == b"peach:L1"
    ]
    write(good, topics.LINK_EVENTS, {**event, "origin": places[-1]}, "link_id")
    assert check(good).differences == [("an acknowledged callback without an effect", places[2])]
