"""One partition of a stage's table in memory: the newest row of each key of a compacted topic."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

# What a `put` replaces where nothing was pending.
_NOTHING: Final = object()
# The most decoded rows kept besides the encoded ones. Other rows are decoded when they are needed.
_HOT_ROWS = 20_000


class TablePartition(Generic[T]):
    """Rows stay encoded, as in the topic: a million links then need a fifth of the memory that
    decoded rows need, and a restore decodes nothing.

    Writes are pending until their transaction has committed: memory never has what Kafka lacks. A
    row None is a deletion."""

    def __init__(self, encode: Callable[[T], bytes], decode: Callable[[bytes], T]) -> None:
        self._encode = encode
        self._decode = decode
        self._rows: dict[bytes, bytes] = {}
        self._hot: dict[bytes, T] = {}
        self._pending: dict[bytes, T | None] = {}
        self._encoded: dict[bytes, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: bytes, *, keep: bool = True) -> T | None:
        """Return the newest row of `key`, pending writes included. With `keep=False` its decoded
        form is not kept: for a row that is not needed again.
        """
        if key in self._pending:
            return self._pending[key]
        row = self._hot.get(key)
        if row is None and (encoded := self._rows.get(key)) is not None:
            row = self._decode(encoded)
            if keep:
                self._keep_hot(key, row)
        return row

    def put(self, key: bytes, row: T | None) -> Any:
        """Make `row` the pending row of `key`. Return what `undo` needs."""
        replaced = self._pending.get(key, _NOTHING)
        self._pending[key] = row
        return replaced

    def undo(self, key: bytes, replaced: Any) -> None:
        """Undo a `put` that returned `replaced`."""
        if replaced is _NOTHING:
            del self._pending[key]
        else:
            self._pending[key] = replaced

    def encode_pending(self) -> int:
        """Encode the pending rows, for `changes`. Return the size of the largest, key included."""
        self._encoded = {
            key: None if row is None else self._encode(row) for key, row in self._pending.items()
        }
        return max((len(key) + len(row or b"") for key, row in self._encoded.items()), default=0)

    def size(self, key: bytes, row: T | None) -> int:
        """Return the bytes that the row needs, key included."""
        return len(key) + (0 if row is None else len(self._encode(row)))

    def changes(self) -> Mapping[bytes, bytes | None]:
        """Return the encoded pending rows by their keys, for the transaction."""
        return self._encoded

    def commit(self) -> None:
        """Keep the pending rows: the transaction has committed."""
        for key, row in self._pending.items():
            self.restore(key, self._encoded[key])
            if row is not None:
                self._keep_hot(key, row)
        self.abort()

    def abort(self) -> None:
        """Drop the pending rows: the transaction has not committed."""
        self._pending = {}
        self._encoded = {}

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Store a row read from the compacted topic. None deletes the row."""
        self._hot.pop(key, None)
        if value is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = value

    def committed_keys(self) -> list[bytes]:
        """Return the keys of all committed rows."""
        return list(self._rows)

    def pending_keys(self) -> list[bytes]:
        """Return the keys of the rows whose transaction has not committed yet."""
        return list(self._pending)

    def encoded(self, key: bytes) -> bytes | None:
        """Return the committed row as it is in the topic."""
        return self._rows.get(key)

    def _keep_hot(self, key: bytes, row: T) -> None:
        if len(self._hot) >= _HOT_ROWS:
            self._hot.clear()
        self._hot[key] = row
