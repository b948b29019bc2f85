"""The sandbox's store: it survives a kill, and a failed transaction has no effect."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from connectors.providers.simulator import Callback
from connectors.sandbox.store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    with closing(Store(":memory:")) as store:
        yield store


def test_store_survives_a_kill(tmp_path: Path) -> None:
    killed = Store(tmp_path / "s.sqlite")  # It is not closed before the second one opens.
    state = killed.of("ping")
    state.put("link", "a", {"status": "CREATED"})
    state.put("link", "b", {"status": "CREATED"})
    state.put("link", "a", {"status": "EXPIRED"})
    state.enqueue(Callback(b"\xff{", "text/plain", "http://x.test", "id-1"))
    state.set_timer("a", 7)
    store = Store(tmp_path / "s.sqlite")
    assert store.of("ping").all("link") == [{"status": "EXPIRED"}, {"status": "CREATED"}]
    assert store.of("peach").get("link", "a") is None
    (delivery,) = store.due(1, 10)
    assert delivery.callback == Callback(b"\xff{", "text/plain", "http://x.test", "id-1")
    assert store.pop_timers(7) == [("ping", "a")]
    assert store.pop_timers(7) == []
    store.close()
    killed.close()


def test_failed_transaction_has_no_effect(store: Store) -> None:
    def fail() -> None:
        with store.transaction():
            store.of("ping").put("link", "a", {})
            store.of("ping").enqueue(Callback(b"{}"))
            raise KeyError("a")

    with pytest.raises(KeyError):
        fail()
    assert (store.of("ping").all("link"), store.counts()["pending"]) == ([], 0)


def test_delivery_is_pending_until_it_is_acknowledged_or_fails(store: Store) -> None:
    for due in (30, 10, 20):
        store.enqueue("ping", Callback(b"%d" % due), due)
    assert store.due(5, 10) == []
    assert store.next_due(5) == 10
    first, second = store.due(20, 10)
    assert [first.callback.body, second.callback.body] == [b"10", b"20"]
    store.finish(first.number, "delivered", 200)
    store.retry(second.number, 503, 40)
    assert [(d.callback.body, d.attempts) for d in store.due(40, 10)] == [(b"30", 0), (b"20", 1)]
    store.finish(second.number, "failed", None)
    assert store.counts() == {"pending": 1, "delivered": 1, "failed": 1}
