"""`make up` twice: it ends whole and in time, and goes on with what it had."""

import signal
from pathlib import Path

import pytest

from tests.system import System

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_a_second_start_goes_on_with_the_data_of_the_first(tmp_path: Path) -> None:
    system = System(tmp_path).start()
    try:
        sent = system.run("send", "peach", "--example", "completed")
        assert sent.returncode == 0, sent.stderr
        link = "/links/peach/00d886d6-4754-4bcc-b88f-74a53d5220e5"
        first = system.see(link, lambda row: row["looked_up_at"] is not None)
    finally:
        took = system.stop(signal.SIGINT)
    assert took < 10
    system.start()
    try:
        again = system.see(link, lambda row: row["status"] == "PAID")
        assert again["version"] == first["version"]
        sent = system.run("send", "peach", "--example", "completed")
        order = system.see(link.replace("links", "orders"), lambda o: bool(o["close"]))
        assert len(order["settlements"]) == 1
    finally:
        assert system.stop(signal.SIGTERM) < 10
