"""From callback to settlement, through everything that `make up` starts."""

import gzip
import json
import re
import shlex
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from connectors.kafka.cluster import Cluster
from schemas.headers import headers_of
from schemas.topics import NOTICES, ORDER_CLOSE, SHARED
from tests.e2e.system import System
from tests.support.codecs import CODECS
from tests.support.confluent import deserialized
from tests.support.documents import KCAT
from tests.support.kcat import Kcat
from tests.support.otlp import Collector, collecting
from tests.support.processes import environment, running
from tests.support.reading import read_all, values
from tests.support.sandboxing import Providers
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

PING = "a25cdd3b-f95f-4861-87e4-1ca0a6be748e"
PEACH = "00d886d6-4754-4bcc-b88f-74a53d5220e5"
TRUELAYER = "aKiW35RWSyF"
IPINT = "voZ3pYmiE16FLaSfFmytouwFfcjR4Zom8"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def settings(collector: Collector) -> dict[str, str]:
    return {"LINKSTATUS_TRACING__ENDPOINT": collector.url}


def send_example(system: System, provider: str, name: str) -> None:
    assert system.run("send", provider, "--example", name).split()[-1] == "200"


def is_paid(row: Any) -> bool:
    return bool(row["status"] == "PAID")


def sources(row: Any) -> set[str]:
    """Return the sources of a link's events. The board may read them later than the row."""
    return {event["source"] for event in row["timeline"]}


def kinds(order: Any) -> set[str]:
    return {settlement["kind"] for settlement in order["settlements"]}


def test_ping_is_looked_up_closed_split_and_settled(system: System) -> None:
    send_example(system, "ping", "completed")
    both = {"callback", "lookup"}
    row = system.wait_for(f"/links/ping/{PING}", lambda r: is_paid(r) and sources(r) >= both)
    assert (row["verified"], row["claimed_status"], row["order_from"]) == (True, None, "LOOKUP")
    assert (row["amount_minor"], row["currency"], row["coverage"]) == (14000, "SEK", "PAID")
    assert row["payment_id"]
    order = system.wait_for(
        f"/orders/ping/{row['order_id']}",
        lambda o: o["state"] == "SETTLED" and o["close"] and len(kinds(o)) == 2,
    )
    assert order["close"]["links"][0]["link_id"] == PING
    assert order["close"]["total_minor"] == 14000
    assert kinds(order) == {"REQUESTED", "CONFIRMED"}


def test_one_trace_leads_from_callback_to_settlement(
    system: System, cluster: Cluster, collector: Collector
) -> None:
    send_example(system, "ping", "completed")
    row = system.wait_for(f"/links/ping/{PING}", is_paid)
    order_id = row["order_id"]
    system.wait_for(f"/orders/ping/{order_id}", lambda order: order["state"] == "SETTLED")
    closes = {message.key(): message for message in read_all(cluster, "order-close")}
    headers = dict(headers_of(closes[f"ping:{order_id}".encode()]))
    _, trace, parent, _ = headers["traceparent"].decode().split("-")
    expected = {
        ("web", "POST /callbacks/ping"),
        ("work", f"work {system.prefix}callbacks.ping"),
        ("lookup", "lookup ping"),
        ("settle", "close ping"),
        ("settle", "settle ping"),
    }
    until_sync(lambda: expected <= collector.spans_of(trace).keys(), "all spans of the trace")
    spans = collector.spans_of(trace)
    edge = spans.pop(("web", "POST /callbacks/ping"))
    assert (edge.span_id.hex(), edge.parent_span_id) == (parent, b"")
    assert {span.parent_span_id for span in spans.values()} == {edge.span_id}


def test_signed_peach_callback_is_verified(system: System) -> None:
    for name in ("processing", "initiated", "completed", "opened"):
        send_example(system, "peach", name)
    row = system.wait_for(f"/links/peach/{PEACH}", lambda r: is_paid(r) and len(r["times"]) == 4)
    assert row["verified"]
    order = system.wait_for(f"/orders/peach/{PEACH}", lambda o: bool(o["close"] and kinds(o)))
    assert kinds(order) == {"EXPECTED"}


def test_d5_forged_batch_event_is_looked_up_at_peach(system: System) -> None:
    forged = {"batchId": "never-made", "status": "completed"}
    assert httpx.post(f"{system.url}/callbacks/peach", json=forged, timeout=30).status_code == 200

    def denied(page: Any) -> bool:
        notices = {(n["kind"], n["subject_id"], n["status"], n["answer"]) for n in page["notices"]}
        claimed = ("batch", "never-made", "completed", "not found")
        return notices >= {claimed, ("batch_lookup", "never-made", "not found", None)}

    system.wait_for("/notices?provider=peach", denied)
    # The batch becomes no link.
    links = system.get("/links?provider=peach")["links"]
    assert not any("never-made" in link["link_id"] for link in links)


def test_truelayer_payment_that_comes_before_its_link_is_joined(system: System) -> None:
    send_example(system, "truelayer", "payment_settled")
    assert system.get(f"/links/truelayer/{TRUELAYER}") is None
    send_example(system, "truelayer", "payment_created")
    row = system.wait_for(f"/links/truelayer/{TRUELAYER}", is_paid)
    assert row["payment_ids"] == ["60c0a60ed8d7-4e5b-ac79-401b1d8a8633"]
    order = system.wait_for(f"/orders/truelayer/{TRUELAYER}", lambda o: bool(o["settlements"]))
    assert kinds(order) == {"CONFIRMED"}


def test_ipint_callback_is_a_claim_until_the_invoice_confirms_it(system: System) -> None:
    send_example(system, "ipint", "completed")
    row = system.wait_for(f"/links/ipint/{IPINT}", is_paid)
    assert (row["coverage"], row["received_minor"], row["currency"]) == ("PAID", 499965, "INR")
    order = system.wait_for(f"/orders/ipint/{IPINT}", lambda o: bool(o["close"] and kinds(o)))
    assert kinds(order) == {"EXPECTED"}


def test_refused_callback_is_a_problem_on_the_page(system: System) -> None:
    url = f"{system.url}/callbacks/truelayer"
    assert httpx.post(url, json={"type": "forged"}, timeout=30).status_code == 401

    def is_shown(page: Any) -> bool:
        counts = {(r["provider"], r["reason"]): r["number"] for r in page["refused_callbacks"]}
        kinds = {problem["kind"] for problem in page["problems"]}
        return counts == {("truelayer", "signature"): 1} and "CALLBACKS_REFUSED" in kinds

    system.wait_for("/", is_shown)


UPGRADE = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABk"}


@pytest.mark.parametrize(
    ("link_id", "headers", "encode"),
    [
        ("a1-upgrade-offer", UPGRADE, bytes),
        ("a4-gzip", {"content-encoding": "gzip"}, gzip.compress),
        ("a4-deflate", {"content-encoding": "deflate"}, zlib.compress),
        ("a5-byte-order-mark", {}, b"\xef\xbb\xbf".__add__),
    ],
    ids=["upgrade", "gzip", "deflate", "mark"],
)
def test_a_acknowledged_callback_is_a_claim(
    system: System, link_id: str, headers: dict[str, str], encode: Callable[[bytes], bytes]
) -> None:
    body = encode(json.dumps({"invoice_id": link_id, "status": "PROCESSING"}).encode())
    headers = {"content-type": "application/json", **headers}
    answer = httpx.post(f"{system.url}/callbacks/ipint", content=body, headers=headers, timeout=30)
    assert (answer.status_code, answer.content) == (200, b"")
    row = system.wait_for(f"/links/ipint/{link_id}", lambda row: bool(row))
    assert row["timeline"][0]["provider_status"] == "PROCESSING"


def test_standard_avro_consumer_reads_our_topics_with_the_boards_registry(
    system: System, cluster: Cluster
) -> None:
    send_example(system, "peach", "completed")
    system.wait_for(f"/orders/peach/{PEACH}", lambda o: bool(o["settlements"]))
    read = set()
    for topic in SHARED:
        messages = read_all(cluster, topic.name) if topic.schema else []
        ours = [CODECS.decode(topic.schema, m.value()) for m in messages if topic.schema]
        assert deserialized(f"{system.url}/registry", messages) == ours, topic.name
        read |= {topic.name for _ in messages}
    assert read >= {"link-events", "link-status", "order-close", "settlement", "orders"}


@pytest.mark.parametrize("line", KCAT, ids=["keys", "avro"])
def test_kcat_reads_our_topics(system: System, line: str) -> None:
    kcat, command = Kcat(), shlex.split(line)[1:]
    if "-r" in command and not kcat.knows_avro():
        pytest.skip("this kcat was built without Avro")
    send_example(system, "peach", "completed")
    system.wait_for(f"/orders/peach/{PEACH}", lambda o: bool(o["close"]))
    here = {
        "127.0.0.1:9092": system.environment["LINKSTATUS_BROKERS"],
        "http://127.0.0.1:8080/registry": f"{system.url}/registry",
        "order-close": f"{system.prefix}order-close",
    }
    printed = kcat.run(*(here.get(word, word) for word in command))
    if "-r" in command:
        closes = [json.loads(line) for line in printed.splitlines()]
        assert PEACH in {close["order_id"] for close in closes}
    else:
        assert re.search(rf"^peach:{PEACH} event-id=[0-9a-f-]{{36}}", printed, re.MULTILINE)


def test_g2_authorised_link_is_paid_and_closes_its_order_once_it_is_captured(
    system: System, cluster: Cluster
) -> None:
    providers = Providers(system)
    providers.move("peach", providers.create("peach", "G2"), "opened", "processing", "authorised")
    row = system.wait_for("/links/peach/G2", lambda row: bool(row["reason"]))
    assert (row["status"], row["reason"]) == ("PROCESSING", "authorised only, not captured yet")
    assert "authorised only, not captured yet" in system.run("status", "peach", "G2")
    assert system.get("/orders/peach/G2")["close"] is None
    providers.move("peach", "G2", "captured")
    order = system.wait_for("/orders/peach/G2", lambda order: bool(order["close"]))
    assert order["close"]["total_minor"] == 10_000
    row = system.wait_for("/links/peach/G2", is_paid)
    assert (row["reason"], row["anomalies"]) == (None, [])
    closes = [close for close in values(cluster, ORDER_CLOSE) if close["order_id"] == "G2"]
    assert [close["event_id"] for close in closes] == [order["close"]["event_id"]]


@pytest.mark.parametrize("provider", ["ping", "peach"])
def test_link_is_cancelled_from_the_board(system: System, cluster: Cluster, provider: str) -> None:
    link_id = Providers(system).create(provider, f"{provider}-to-cancel")
    path = f"/links/{provider}/{link_id}"
    system.wait_for(path, lambda r: r["status"] == "CREATED")
    assert httpx.post(f"{system.url}{path}/cancel").status_code == 401
    headers = {"authorization": f"Bearer {token(system)}"}
    body = {"by": "Ada"}
    answer = httpx.post(f"{system.url}{path}/cancel", json=body, headers=headers, timeout=30)
    assert answer.status_code == 200
    assert (answer.json()["outcome"], answer.json()["recorded"]) == ("DONE", True)
    row = system.wait_for(path, lambda r: r["status"] == "CANCELLED")
    assert (row["verified"], row["claimed_status"], row["anomalies"]) == (True, None, [])
    requests = [n for n in values(cluster, NOTICES) if n["kind"] == "cancel_requested"]
    (notice,) = [request for request in requests if request["subject_id"] == link_id]
    assert notice["status"] == "done"
    assert notice["attributes"]["by"].startswith("Ada through the API, from ")
    again = httpx.post(f"{system.url}{path}/cancel", headers=headers)
    assert (again.status_code, again.json()) == (409, {"error": "the link is cancelled already"})


def token(system: System) -> str:
    (token,) = re.findall(r"^page +\S+[?]token=(\S+)$", system.output(), re.MULTILINE)
    return str(token)


def test_replayed_dead_letter_is_handled_like_any_callback(
    system: System, cluster: Cluster
) -> None:
    """As after the fix of a bug: the dead letter is well-formed. (A claim of more than a week ago
    would be forgotten at the next tick.)
    """
    received_at = (datetime.now(UTC) - timedelta(days=1)).replace(microsecond=0)
    headers = {
        **{"provider": b"ipint", "source": b"callback", "verified": b"0"},
        "received-at": b"%d" % (received_at.timestamp() * 1000),
        "content-type": b"application/json",
        **{"stage": b"normalize", "reason": b"a bug", "origin": b"callbacks.ipint/0/0"},
    }
    producer = Producer({**cluster.librdkafka()})
    body = b'{"invoice_id":"D1","status":"COMPLETED"}'
    producer.produce(
        cluster.topic("dead-letters"), body, b"ipint:D1", headers=list(headers.items())
    )
    assert producer.flush(30) == 0
    options = ("--reason", "a bug", "--provider", "ipint", "--yes", "--by", "ada")
    system.run("dead-letters", "replay", *options)
    row = system.wait_for("/links/ipint/D1", lambda r: "replay" in sources(r))
    assert row["timeline"][0]["source"] == "replay"
    assert row["timeline"][0]["received_at"] == f"{received_at:%Y-%m-%dT%H:%M:%S}.000000Z"
    assert row["status"] != "PAID"


def test_processes_page_shows_that_all_are_ready(system: System) -> None:
    browser = {"Accept": "text/html"}

    def ready() -> list[str]:
        page = httpx.get(f"{system.url}/processes", headers=browser).text
        return re.findall(r'scope="row"[^>]*>(\w+)</th>\s*<td[^>]*><span[^>]*>ready<', page)

    until_sync(lambda: len(ready()) == 5, "all to be ready")
    assert ready() == ["web", "work", "lookup", "settle", "sandbox"]


def test_up_prints_an_address_that_signs_the_browser_in(system: System) -> None:
    (address,) = re.findall(r"^page +(http\S+)$", system.output(), re.MULTILINE)
    answer = httpx.get(address)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "samesite=strict" in answer.headers["set-cookie"].lower()


def test_fausts_own_command_runs_the_worker(
    system: System, cluster: Cluster, tmp_path: Path
) -> None:
    """`faust -A streams.app worker` joins the same groups as a second worker."""
    env = system.environment | environment(cluster, tmp_path)
    argv = ["-m", "faust", "-A", "streams.app", "worker", "-l", "info"]
    with running(argv, tmp_path / "faust.out", env):
        pass
