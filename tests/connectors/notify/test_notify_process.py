"""`linkstatus notify` as it runs: a real broker, a real receiver, kills, restarts and replays."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from connectors.kafka.cluster import Cluster
from connectors.notify.endpoint import SCHEMAS
from schemas.topics import message_key
from streams import settings, testing
from streams.admin import doctor
from streams.local import subprocesses
from tests.support import processes
from tests.support.codecs import CODECS
from tests.support.reading import read_all, write_all
from tests.support.receiver import OTHER_SECRET, SECRET, Attempt, Receiver
from tests.support.serving import serving
from tests.support.shell import Shell
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

ORDERS = 40


def write(cluster: Cluster, topic: str, *records: Any) -> None:
    pairs = []
    for record in records:
        key = message_key(record["provider"], record.get("order_id") or record["link_id"])
        pairs.append((key, CODECS.encode(SCHEMAS[topic], record)))
    write_all(cluster, topic, pairs)


def orders(cluster: Cluster, *names: str) -> dict[str, list[str]]:
    """Write close and settlements of each order; return their ids, by order."""
    closes = [testing.order_close(name) for name in names]
    kinds = ("REQUESTED", "CONFIRMED")
    settled = [testing.settlement(close, kind) for kind in kinds for close in closes]  # type: ignore[arg-type]
    write(cluster, "settlement", *settled)
    write(cluster, "order-close", *closes)
    return {
        name: [one["event_id"] for one in (*closes, *settled) if one["order_id"] == name]
        for name in names
    }


class Notify:
    """The process, with its endpoints: name, address of the receiver, and secrets."""

    def __init__(self, cluster: Cluster, folder: Path, **endpoints: tuple[str, str]) -> None:
        self.folder = folder
        document = {
            name: {"url": f"{url}/hooks", "secrets": secrets.split(",")}
            for name, (url, secrets) in endpoints.items()
        }
        self.settings = {"NOTIFY__ENDPOINTS": json.dumps(document)}
        self.env = processes.environment(cluster, folder, **self.settings)
        self.url = f"http://127.0.0.1:{self.env[processes.PORT]}"
        self.popen = processes.spawn("notify", folder / "log", self.env)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def get(self, path: str) -> str:
        assert self.popen.poll() is None, (self.folder / "log").read_text()[-3000:]
        try:
            return httpx.get(self.url + path).text
        except httpx.TransportError:
            return ""


Start = Callable[..., Notify]


@pytest.fixture
def start(kafka: Cluster, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def started(**endpoints: tuple[str, str]) -> Notify:
            process = Notify(kafka, tmp_path, **endpoints)
            stack.callback(subprocesses.stop, process.popen, 10)
            return process

        yield started


async def flaky(attempt: Attempt) -> Response:
    """Refuse one event in four, at first."""
    fails = attempt.number == 1 and int(attempt.id[0], 16) % 4 == 0
    return Response(status_code=500 if fails else 204)


def test_kill_loses_no_event_and_changes_no_order(kafka: Cluster, start: Start) -> None:
    receiver = Receiver(answer=flaky)
    with serving(receiver.app()) as url:
        names = [f"O{number}" for number in range(ORDERS)]
        expected = orders(kafka, *names)
        for accepted in (5, ORDERS, 2 * ORDERS):
            process = start(billing=(url, SECRET))
            until_sync(lambda: len(receiver.accepted) >= accepted, "some deliveries")  # noqa: B023
            process.kill()
        start(billing=(url, SECRET))
        until_sync(lambda: len(receiver.accepted) == 3 * ORDERS, "all deliveries")
    assert {name: receiver.accepted_of(name) for name in names} == expected
    assert receiver.wrong == []


def test_endpoint_that_is_away_delays_no_other_and_its_lag_is_seen(
    kafka: Cluster, start: Start, shell: Shell
) -> None:
    receiver = Receiver()
    with serving(receiver.app()) as url:
        expected = orders(kafka, "O1", "O2")
        process = start(billing=(url, SECRET), crm=("http://127.0.0.1:9", SECRET))
        until_sync(lambda: len(receiver.accepted) == 6, "the deliveries to the other endpoint")
        assert {name: receiver.accepted_of(name) for name in expected} == expected
        lags = ['lag_records{endpoint="crm"} 6.0', 'lag_records{endpoint="billing"} 0.0']
        until_sync(lambda: all(lag in process.get("/metrics") for lag in lags), "the lags")
        metrics = process.get("/metrics")
        assert 'linkstatus_notify_deliveries_total{endpoint="crm",outcome="away"}' in metrics
        assert process.get("/readyz") == "ready\n"
    endpoints = json.loads(process.settings["NOTIFY__ENDPOINTS"])
    overrides = {"brokers": kafka.brokers, "topic_prefix": kafka.prefix, "partitions": 2}
    chosen = settings.load(**overrides, notify={"endpoints": endpoints})
    findings = {one.check: one for one in doctor.examine(chosen, call_providers=False)}
    assert (findings["endpoint billing"].state, findings["endpoint crm"].state) == ("ok", "note")
    assert "6 events wait" in findings["endpoint crm"].message


def test_secrets_rotate_without_a_gap(kafka: Cluster, start: Start) -> None:
    """The receiver changes its secret while both are set here."""
    receiver = Receiver(secret=OTHER_SECRET)
    with serving(receiver.app()) as url:

        def deliver(name: str) -> None:
            orders(kafka, name)
            until_sync(lambda: len(receiver.accepted_of(name)) == 3, f"the events of {name}")

        process = start(billing=(url, OTHER_SECRET))
        deliver("before")
        assert subprocesses.stop(process.popen, 10) == 0
        process = start(billing=(url, f"{SECRET},{OTHER_SECRET}"))
        deliver("with both, to the old one")
        receiver.secret = SECRET
        deliver("with both, to the new one")
        assert subprocesses.stop(process.popen, 10) == 0
        start(billing=(url, SECRET))
        deliver("after")
    assert receiver.wrong == []


def test_dead_letter_is_replayed_to_its_endpoint_alone(
    kafka: Cluster, start: Start, linkstatus: Shell
) -> None:
    refuses = True

    async def answer(attempt: Attempt) -> Response:
        return Response(status_code=400 if refuses and attempt.data.get("links") else 204)

    billing, crm = Receiver(answer=answer), Receiver()
    with serving(billing.app()) as url, serving(crm.app()) as other:
        process = start(billing=(url, SECRET), crm=(other, SECRET))
        process.kill()
        process.env["LINKSTATUS_NOTIFY__RETRY_SECONDS"] = "0.1"
        process.popen = processes.spawn("notify", process.folder / "log", process.env)
        try:
            (ids,) = orders(kafka, "O1").values()
            until_sync(lambda: billing.accepted_of("O1") == ids[1:], "what follows the refused one")
            until_sync(lambda: crm.accepted_of("O1") == ids, "the other endpoint")
            until_sync(lambda: len(read_all(kafka, "dead-letters")) == 1, "the dead letter")
            refuses, seen = False, len(crm.attempts)
            printed = linkstatus.run("dead-letters", "replay", "--stage", "notify", "--yes")
            assert "notify-replays: 1 published again" in printed.err
            until_sync(lambda: billing.accepted_of("O1") == [*ids[1:], ids[0]], "the replay")
            # The next event is behind it: nothing else has come.
            orders(kafka, "O2")
            until_sync(lambda: len(crm.accepted_of("O2")) == 3, "the next order")
            assert len(crm.attempts) == seen + 3
            assert len(read_all(kafka, "order-close")) == 2
        finally:
            subprocesses.stop(process.popen, 10)


def test_process_without_endpoints_is_ready_and_says_so(start: Start) -> None:
    process = start()
    until_sync(lambda: process.get("/readyz") == "ready\n", "the process")
    assert "NOTIFY__ENDPOINTS names no endpoint" in (process.folder / "log").read_text()


def test_wrong_setting_ends_the_start_with_its_name(kafka: Cluster, tmp_path: Path) -> None:
    setting = {
        "NOTIFY__ENDPOINTS__BILLING__URL": "http://billing.example/",
        "NOTIFY__ENDPOINTS__BILLING__SECRETS": SECRET,
    }
    env = processes.environment(kafka, tmp_path, **setting)
    ended = processes.run(*processes.LINKSTATUS, "notify", code=2, env=env)
    assert "LINKSTATUS_NOTIFY__ENDPOINTS__BILLING: url: http shows the events" in ended.stderr
    assert SECRET not in ended.stderr
