"""A table's partition in memory: the newest row of every key of one compacted topic's partition."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from schemas.codec import Codec

T = TypeVar("T")

# Decoded rows kept beside the encoded ones; a row that is not here is decoded again when asked for.
_HOT_ROWS = 20_000


class Partition(Generic[T]):
    """Rows stay encoded, as they are in the topic: a million links then take a fifth of the memory
    that decoded ones would, and a restore needs no decoding.

    Writes are pending until the transaction that carries them has committed: what Kafka does not
    have, memory does not have either."""

    def __init__(self, codec: Codec[T]) -> None:
        self._codec = codec
        self._rows: dict[bytes, bytes] = {}
        self._hot: dict[bytes, T] = {}
        self._pending: dict[bytes, T] = {}
        self._encoded: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: bytes) -> T | None:
        """The newest row of `key`, pending writes included."""
        row = self._pending.get(key)
        if row is None:
            row = self._hot.get(key)
        if row is None:
            encoded = self._rows.get(key)
            if encoded is None:
                return None
            row = self._codec.decode(encoded)
            self._keep_hot(key, row)
        return row

    def put(self, key: bytes, row: T) -> T | None:
        """Makes `row` the pending row of `key`; returns the pending row it replaces."""
        replaced = self._pending.get(key)
        self._pending[key] = row
        return replaced

    def undo(self, key: bytes, replaced: T | None) -> None:
        """Takes a `put` back."""
        if replaced is None:
            del self._pending[key]
        else:
            self._pending[key] = replaced

    def changes(self) -> Iterator[tuple[bytes, bytes]]:
        """The pending rows, encoded, one a key: to be sent in the transaction."""
        for key, row in self._pending.items():
            encoded = self._encoded[key] = self._codec.encode(row)
            yield key, encoded

    def commit(self) -> None:
        """The transaction has committed: pending rows become rows."""
        self._rows.update(self._encoded)
        for key, row in self._pending.items():
            self._keep_hot(key, row)
        self.abort()

    def abort(self) -> None:
        """The transaction has not committed: pending rows never were."""
        self._pending = {}
        self._encoded = {}

    def restore(self, key: bytes, value: bytes | None) -> None:
        """A row read from the compacted topic; None deletes it."""
        self._hot.pop(key, None)
        if value is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = value

    def committed_keys(self) -> list[bytes]:
        """The keys of all committed rows, for a scan."""
        return list(self._rows)

    def pending_keys(self) -> list[bytes]:
        """The keys of the rows whose transaction has not committed yet."""
        return list(self._pending)

    def encoded(self, key: bytes) -> bytes | None:
        """The committed row as it is in the topic."""
        return self._rows.get(key)

    def _keep_hot(self, key: bytes, row: T) -> None:
        if len(self._hot) >= _HOT_ROWS:
            self._hot.clear()
        self._hot[key] = row
