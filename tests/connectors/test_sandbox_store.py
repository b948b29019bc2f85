"""The sandbox's memory: it survives its process, and a failed step leaves nothing behind."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from connectors.sandbox.simulator import Callback
from connectors.sandbox.store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(Store(":memory:")) as store:
        yield store


def test_everything_is_there_after_a_reopen(tmp_path: Path) -> None:
    """The first store is not closed: its process was killed."""
    killed = Store(tmp_path / "s.sqlite")
    state = killed.of("ping")
    state.put("link", "a", {"status": "CREATED"})
    state.put("link", "b", {"status": "CREATED"})
    state.put("link", "a", {"status": "EXPIRED"})
    state.owe(Callback(b"\xff{", "text/plain", "http://x.test", "id-1"))
    state.wake("a", 7)
    store = Store(tmp_path / "s.sqlite")
    assert store.of("ping").all("link") == [{"status": "EXPIRED"}, {"status": "CREATED"}]
    assert store.of("peach").get("link", "a") is None
    (delivery,) = store.due(1, 10)
    assert delivery.callback == Callback(b"\xff{", "text/plain", "http://x.test", "id-1")
    assert [(alarm.provider, alarm.key) for alarm in store.rung(7)] == [("ping", "a")]
    assert store.rung(7) == []
    store.close()
    killed.close()


def test_a_step_that_fails_leaves_nothing_behind(store: Store) -> None:
    def step() -> None:
        with store.transaction():
            store.of("ping").put("link", "a", {})
            store.of("ping").owe(Callback(b"{}"))
            raise KeyError("a")

    with pytest.raises(KeyError):
        step()
    assert (store.of("ping").all("link"), store.counts()["owed"]) == ([], 0)


def test_a_delivery_is_owed_until_acknowledged_or_given_up(store: Store) -> None:
    for due in (30, 10, 20):
        store.owe("ping", Callback(b"%d" % due), due)
    assert store.due(5, 10) == []
    assert store.next_due(5) == 10
    first, second = store.due(20, 10)
    assert [first.callback.body, second.callback.body] == [b"10", b"20"]
    store.delivered(first.number, 200)
    store.retry(second.number, 503, 40)
    assert [(d.callback.body, d.attempts) for d in store.due(40, 10)] == [(b"30", 0), (b"20", 1)]
    store.given_up(second.number, None)
    assert store.counts() == {"owed": 1, "delivered": 1, "given up": 1}


def test_callbacks_of_a_play_wait_for_their_release(store: Store) -> None:
    with store.captured() as callbacks:
        store.of("ping").owe(Callback(b"{}"))
    assert store.counts()["owed"] == 0
    store.owe("ping", callbacks[0], 1000, "run-1")
    assert store.due(10, 10) == []
    assert (store.release("run-2", 995), store.release("run-1", 995)) == (0, 1)
    assert len(store.due(10, 10)) == 1
    assert store.counts("run-1") == {"owed": 1, "delivered": 0, "given up": 0}
