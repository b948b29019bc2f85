"""The whole way, from callback to settlement, through everything `make up` starts."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from connectors.kafka import Cluster
from schemas.codec import ANOMALY, LINK_STATUS, NOTICE
from schemas.topics import SHARED
from streams.child import free_port
from tests.confluent import deserialized
from tests.kcat import Kcat
from tests.reading import read_all, write_all
from tests.sandboxing import Providers
from tests.system import System
from tests.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

README = (Path(__file__).parent.parent / "README.md").read_text()
KCAT = [shlex.split(line)[1:] for line in re.findall(r"^kcat .*", README, re.MULTILINE)]

PING = "a25cdd3b-f95f-4861-87e4-1ca0a6be748e"
PEACH = "00d886d6-4754-4bcc-b88f-74a53d5220e5"
TRUELAYER = "aKiW35RWSyF"
IPINT = "voZ3pYmiE16FLaSfFmytouwFfcjR4Zom8"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("system")).start()
    yield system
    system.stop()


@pytest.fixture
def cluster(system: System) -> Cluster:
    return Cluster(system.environment["LINKSTATUS_BROKERS"], system.prefix)


def example(system: System, provider: str, name: str) -> None:
    sent = system.run("send", provider, "--example", name)
    assert (sent.returncode, sent.stdout.split()[-1]) == (0, "200"), sent


def paid(row: Any) -> bool:
    return bool(row["status"] == "PAID")


def sources(row: Any) -> set[str]:
    """Whence its events came. The board reads them on a topic of their own: sooner or later."""
    return {event["source"] for event in row["timeline"]}


def kinds(order: Any) -> set[str]:
    return {settlement["kind"] for settlement in order["settlements"]}


def test_ping_is_looked_up_closed_split_and_settled(system: System) -> None:
    example(system, "ping", "completed")
    both = {"callback", "lookup"}
    row = system.see(f"/links/ping/{PING}", lambda r: paid(r) and sources(r) >= both)
    assert (row["verified"], row["claimed_status"], row["order_from"]) == (True, None, "LOOKUP")
    assert (row["amount_minor"], row["currency"], row["coverage"]) == (14000, "SEK", "PAID")
    assert row["payment_id"]
    order = system.see(
        f"/orders/ping/{row['order_id']}",
        lambda o: o["state"] == "SETTLED" and o["close"] and len(kinds(o)) == 2,
    )
    assert order["close"]["links"][0]["link_id"] == PING
    assert order["close"]["total_minor"] == 14000
    assert kinds(order) == {"REQUESTED", "CONFIRMED"}


def test_peach_is_believed_by_its_signature(system: System) -> None:
    for name in ("processing", "initiated", "completed", "opened"):
        example(system, "peach", name)
    row = system.see(f"/links/peach/{PEACH}", lambda r: paid(r) and len(r["times"]) == 4)
    assert row["verified"]
    order = system.see(f"/orders/peach/{PEACH}", lambda o: bool(o["close"] and kinds(o)))
    assert kinds(order) == {"EXPECTED"}


def test_a_batch_event_that_anybody_may_send_is_asked_of_peach(system: System) -> None:
    forged = {"batchId": "never-made", "status": "completed"}
    assert httpx.post(f"{system.url}/callbacks/peach", json=forged, timeout=30).status_code == 200

    def denied(page: Any) -> bool:
        told = {(n["kind"], n["subject_id"], n["status"]) for n in page["notices"]}
        claimed = ("batch", "never-made", "completed")
        return told >= {claimed, ("batch lookup", "never-made", "not found")}

    system.see("/notices?provider=peach", denied)
    # It is no link of ours for that.
    links = system.get("/links?provider=peach")["links"]
    assert not any("never-made" in link["link_id"] for link in links)


def test_truelayer_joins_a_payment_that_comes_before_its_link(system: System) -> None:
    example(system, "truelayer", "payment_settled")
    assert system.get(f"/links/truelayer/{TRUELAYER}") is None
    example(system, "truelayer", "payment_created")
    row = system.see(f"/links/truelayer/{TRUELAYER}", paid)
    assert row["payment_ids"] == ["60c0a60ed8d7-4e5b-ac79-401b1d8a8633"]
    order = system.see(f"/orders/truelayer/{TRUELAYER}", lambda o: bool(o["settlements"]))
    assert kinds(order) == {"CONFIRMED"}


def test_ipint_is_only_a_claim_until_the_invoice_says_so(system: System) -> None:
    example(system, "ipint", "completed")
    row = system.see(f"/links/ipint/{IPINT}", paid)
    assert (row["coverage"], row["received_minor"], row["currency"]) == ("PAID", 499965, "INR")
    order = system.see(f"/orders/ipint/{IPINT}", lambda o: bool(o["close"] and kinds(o)))
    assert kinds(order) == {"EXPECTED"}


def test_an_ordinary_avro_consumer_reads_our_topics_by_the_board_s_registry(
    system: System, cluster: Cluster
) -> None:
    example(system, "peach", "completed")
    system.see(f"/orders/peach/{PEACH}", lambda o: bool(o["settlements"]))
    read = set()
    for topic in SHARED:
        messages = read_all(cluster, topic.name) if topic.codec else []
        ours = [topic.codec.decode(one.value()) for one in messages if topic.codec]
        assert deserialized(f"{system.url}/registry", messages) == ours, topic.name
        read |= {topic.name for _ in messages}
    assert read >= {"link-events", "link-status", "order-close", "settlement", "orders"}


@pytest.mark.parametrize("command", KCAT, ids=lambda command: "avro" if "-r" in command else "keys")
def test_the_readme_s_kcat_reads_our_topics(system: System, command: list[str]) -> None:
    kcat = Kcat()
    if "-r" in command and not kcat.knows_avro():
        pytest.skip("this kcat was built without Avro")
    example(system, "peach", "completed")
    system.see(f"/orders/peach/{PEACH}", lambda o: bool(o["close"]))
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


def test_the_tail_shows_decoded_rows_and_raw_topics_hold_the_bytes_sent(system: System) -> None:
    body = b'{ "paymentId":"raw-1",\n "status": "opened" }'
    httpx.post(
        f"{system.url}/callbacks/ipint", content=b'{"invoice_id":"raw-2","status":"FAILED"} '
    )
    tail = system.run("tail", "callbacks.ipint", "--json", "--from-beginning", "--exit-at-end")
    lines = [json.loads(line) for line in tail.stdout.splitlines()]
    assert '{"invoice_id":"raw-2","status":"FAILED"} ' in [line["value"] for line in lines]
    assert {"topic", "partition", "offset", "key", "headers", "value"} <= lines[0].keys()
    refused = httpx.post(f"{system.url}/callbacks/peach", content=body)
    assert refused.status_code == 401
    tail = system.run("tail", "link-status", "--json", "--from-beginning", "--exit-at-end")
    rows = [json.loads(line)["value"] for line in tail.stdout.splitlines()]
    assert ("peach", PEACH) in {(row["provider"], row["link_id"]) for row in rows}


def test_a_link_is_registered_before_it_is_paid(system: System) -> None:
    said = {"provider": "peach", "link_id": "R1", "order_id": "O7", "amount": "12.50"}
    answer = httpx.post(f"{system.url}/links", json=said | {"currency": "ZAR"})
    assert answer.status_code == 202
    row = system.see("/links/peach/R1", lambda r: r["status"] == "CREATED")
    assert (row["order_id"], row["registration"]["amount_minor"]) == ("O7", 1250)
    assert httpx.post(f"{system.url}/links", json=said).status_code == 422


@pytest.mark.parametrize("provider", ["ping", "peach"])
def test_a_link_is_cancelled_from_the_board(
    system: System, cluster: Cluster, provider: str
) -> None:
    link_id = Providers(system).create(provider, f"{provider}-to-cancel")
    path = f"/links/{provider}/{link_id}"
    system.see(path, lambda r: r["status"] == "CREATED")
    assert httpx.post(f"{system.url}{path}/cancel").status_code == 401
    acting = {"authorization": f"Bearer {token(system)}"}
    body = {"by": "Ada"}
    told = httpx.post(f"{system.url}{path}/cancel", data=body, headers=acting, timeout=30)
    assert (told.status_code, told.json()["outcome"], told.json()["noted"]) == (200, "DONE", True)
    row = system.see(path, lambda r: r["status"] == "CANCELLED")
    assert (row["verified"], row["claimed_status"], row["anomalies"]) == (True, None, [])
    notices = [NOTICE.decode(m.value()) for m in read_all(cluster, "notices")]
    (notice,) = [n for n in notices if (n["kind"], n["subject_id"]) == ("cancel asked", link_id)]
    assert notice["status"] == "done"
    assert notice["attributes"]["by"].startswith("Ada through the API, from ")
    again = httpx.post(f"{system.url}{path}/cancel", headers=acting)
    assert (again.status_code, again.json()) == (409, {"error": "the link is cancelled already"})


def token(system: System) -> str:
    (found,) = re.findall(r"^page +\S+[?]token=(\S+)$", system.output(), re.MULTILINE)
    return str(found)


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/callbacks/acme", b"{}", 404),
        ("/callbacks/ping", b"x" * 1_000_000, 413),
        ("/callbacks/peach", b'{"paymentId":"F1","status":"completed"}', 401),
        ("/callbacks/truelayer", b'{"type":"payment_settled"}', 401),
    ],
)
def test_what_is_refused_at_the_edge(system: System, path: str, body: bytes, code: int) -> None:
    answer = httpx.post(system.url + path, content=body)
    assert answer.status_code == code


def test_a_wrong_signature_is_refused(system: System) -> None:
    headers = {
        "Tl-Signature": "eyJhbGciOiJFUzUxMiJ9..AAAA",
        "X-TL-Webhook-Timestamp": "2026-01-01T00:00:00Z",
    }
    answer = httpx.post(f"{system.url}/callbacks/truelayer", content=b"{}", headers=headers)
    assert answer.status_code == 401


def test_what_no_rule_understands_is_dead_lettered_and_nothing_stops(
    system: System, cluster: Cluster
) -> None:
    for body in (b"this is no JSON", b'{"invoice_id":"U1","status":"EXPLODED"}', b"\xff\x00"):
        answer = httpx.post(f"{system.url}/callbacks/ipint", content=body)
        assert (answer.status_code, answer.content) == (200, b"")
    write_all(cluster, "link-events", [(b"ipint:B1", b"\x00broken Avro")])
    write_all(cluster, "order-updates", [(b"ping:B1", b"neither")])
    dead = system.see(
        "/dead-letters?limit=100",
        lambda d: {"normalize", "track"} <= set(stages(d)) and len(stages(d)) >= 5,
    )
    reasons = " ".join(str(each["reason"]) for each in items(dead))
    assert "unknown status 'EXPLODED'" in reasons
    assert "linkstatus.LinkEvent" in reasons
    assert "linkstatus.OrderUpdate" in reasons
    anomalies = [ANOMALY.decode(m.value()) for m in read_all(cluster, "anomalies")]
    assert ("U1", "UNKNOWN_STATUS") in {(a["link_id"], a["kind"]) for a in anomalies}
    rows = {LINK_STATUS.decode(m.value())["link_id"] for m in read_all(cluster, "link-status")}
    assert "U1" not in rows
    example(system, "ipint", "failed")


def test_a_dead_letter_published_again_passes_as_any_callback(
    system: System, cluster: Cluster
) -> None:
    """As after a fix: what was not understood is well-formed, and is now."""
    headers = {
        **{"provider": b"ipint", "source": b"callback", "verified": b"0"},
        **{"received-at": b"1700000000000", "content-type": b"application/json"},
        **{"stage": b"normalize", "reason": b"a bug", "origin": b"callbacks.ipint/0/0"},
    }
    producer = Producer({**cluster.librdkafka()})
    body = b'{"invoice_id":"D1","status":"COMPLETED"}'
    producer.produce(
        cluster.topic("dead-letters"), body, b"ipint:D1", headers=list(headers.items())
    )
    assert producer.flush(30) == 0
    chosen = ("--reason", "a bug", "--provider", "ipint", "--yes", "--by", "ada")
    replayed = system.run("dead-letters", "replay", *chosen)
    assert replayed.returncode == 0, replayed
    row = system.see("/links/ipint/D1", lambda r: "replay" in sources(r))
    assert row["timeline"][0]["source"] == "replay"
    assert row["timeline"][0]["received_at"] == "2023-11-14T22:13:20.000000Z"
    assert row["status"] != "PAID"


def items(page: Any) -> list[Any]:
    found: list[Any] = page["dead_letters"]
    return found


def stages(page: Any) -> list[str]:
    return [each["stage"] for each in items(page)]


def test_the_first_page_shows_links(system: System) -> None:
    page = httpx.get(f"{system.url}/", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "<main" in page.text
    assert "peach" in page.text


def test_the_page_looks_after_every_process(system: System) -> None:
    browser = {"Accept": "text/html"}

    def ready() -> list[str]:
        page = httpx.get(f"{system.url}/processes", headers=browser).text
        return re.findall(r'scope="row"[^>]*>(\w+)</th>\s*<td[^>]*><span[^>]*>ready<', page)

    until_sync(lambda: len(ready()) == 5, "all to be ready")
    assert ready() == ["web", "work", "lookup", "settle", "sandbox"]


def test_up_prints_an_address_that_signs_a_browser_in(system: System) -> None:
    (address,) = re.findall(r"^page +(http\S+)$", system.output(), re.MULTILINE)
    answer = httpx.get(address)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "samesite=strict" in answer.headers["set-cookie"].lower()


def test_a_whole_play_ends_as_foretold(system: System) -> None:
    played = system.run("sandbox", "play", "--links", "24", "--seed", "7")
    assert played.returncode == 0, played.stdout + played.stderr


def test_faust_own_command_runs_the_worker(system: System, tmp_path: Path) -> None:
    """`faust -A streams.app worker` joins the same groups as a second worker."""
    environment = {
        **os.environ,
        **system.environment,
        "LINKSTATUS_TOPIC_PREFIX": system.prefix,
        "LINKSTATUS_DATA_DIR": str(tmp_path),
        "LINKSTATUS_HTTP__PORT": str(free_port()),
    }
    faust = Path(sys.executable).with_name("faust")
    with (tmp_path / "faust.out").open("wb") as out:
        worker = subprocess.Popen(
            [faust, "-A", "streams.app", "worker", "-l", "info"],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{environment['LINKSTATUS_HTTP__PORT']}/readyz"
        until_sync(lambda: answers(url), f"{url}: {(tmp_path / 'faust.out').read_text()}", 60)
    finally:
        worker.terminate()
        worker.wait(20)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
