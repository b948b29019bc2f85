"""Keeps the sums of `money` true, and the list of the rows behind them: whatever changes a row
changes them in the same transaction.

A row stores what it adds to the sums. When another one replaces it, the difference is added. So the
sums equal those of all rows, whatever came in which order, how often, and from how many processes:
the writers of one database take turns.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Table, bindparam, delete, select, text

from connectors.board.database import figures
from connectors.board.database import tables as t
from connectors.board.database.projection import Row

# The tables whose rows have figures, and the name of a row within its provider.
COUNTED: dict[Table, str] = {
    t.link_status: "link_id",
    t.orders: "order_id",
    t.reconciliations: "day",
}
_KEY = ("day", "currency", "provider", "measure")
_SUMS = ("number", "amount_minor", "unknown")
# As the columns of `counted_rows`.
_COUNTED_KEY = ("measure", "at", "provider", "name", "currency")
_Counted = tuple[str, int, str, str, str]
# Key of PostgreSQL's advisory lock: any number that no other program uses in this database.
_LOCK = 7_310_589_123_045


def _delete_by(table: Table, names: Sequence[str]) -> Delete:
    """Return the statement that deletes the row of a key; its parameters as of `_parameters`."""
    return delete(table).where(*(table.c[name] == bindparam(f"k_{name}") for name in names))


def _parameters(
    names: Sequence[str], rows: Iterable[Sequence[Any]], prefix: str = ""
) -> list[dict[str, Any]]:
    return [{f"{prefix}{n}": v for n, v in zip(names, row, strict=True)} for row in rows]


_DELETE_EMPTY = _delete_by(t.money, _KEY).where(t.money.c.number == 0)
_DELETE_COUNTED = _delete_by(t.counted_rows, _COUNTED_KEY)


def take_turn(connection: Connection) -> None:
    """Wait until no other process changes rows with figures; until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
    else:
        # Python's driver begins a transaction only before the first change.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class Changes:
    """What a transaction adds to the sums, and which rows count."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
        # Whether the row counts when the transaction ends.
        self._counted: dict[_Counted, bool] = {}

    def replace(self, connection: Connection, table: Table, rows: Sequence[Row]) -> None:
        """Add what rows will change that are about to be stored. One of each key."""
        known = _known(connection, table, rows)
        for row in rows:
            name = row["provider"], row[COUNTED[table]]
            version, before = known.get(name, (None, None))
            if (version is None or version < row["version"]) and before != row["figures"]:
                self._add(name, before, -1)
                self._add(name, row["figures"], 1)

    def remove(self, name: tuple[str, str], stored: Iterable[str | None]) -> None:
        """Subtract the figures of a row (provider, id) that is about to be deleted."""
        for one in stored:
            self._add(name, one, -1)

    def _add(self, name: tuple[str, str], stored: str | None, sign: int) -> None:
        provider, _ = name
        for figure in figures.loads(stored):
            self._counted[figure.measure, figure.at, *name, figure.currency] = sign > 0
            sums = self._sums[figure.day, figure.currency, provider, figure.measure]
            for n, value in enumerate((figure.number, figure.amount_minor, figure.unknown)):
                sums[n] += sign * value

    def apply(self, connection: Connection, upsert: Insert, insert: Insert) -> None:
        """Change the sums, those that are nothing any more are deleted; `insert` adds to the rows
        behind them.
        """
        self._list_rows(connection, insert)
        changed = sorted((key, sums) for key, sums in self._sums.items() if any(sums))
        if not changed:
            return
        rows = ((*key, *sums) for key, sums in changed)
        connection.execute(upsert, _parameters((*_KEY, *_SUMS), rows))
        if fewer := [key for key, (number, _, _) in changed if number < 0]:
            connection.execute(_DELETE_EMPTY, _parameters(_KEY, fewer, "k_"))

    def _list_rows(self, connection: Connection, insert: Insert) -> None:
        if gone := sorted(key for key, counts in self._counted.items() if not counts):
            connection.execute(_DELETE_COUNTED, _parameters(_COUNTED_KEY, gone, "k_"))
        if listed := sorted(key for key, counts in self._counted.items() if counts):
            connection.execute(insert, _parameters(_COUNTED_KEY, listed))


def upsert(insert: Any) -> Insert:
    """Return the statement that adds to the sums."""
    added: Insert = insert.on_conflict_do_update(
        index_elements=_KEY,
        set_={name: t.money.c[name] + insert.excluded[name] for name in _SUMS},
    )
    return added


def _known(
    connection: Connection, table: Table, rows: Sequence[Row]
) -> Mapping[tuple[str, str], tuple[int, str | None]]:
    """Return version and figures of the stored rows with these keys."""
    c, name = table.c, COUNTED[table]
    ids: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        ids[row["provider"]].append(row[name])
    found = {}
    # One query per provider: for pairs in one IN, SQLite scans the whole table.
    for provider, some in ids.items():
        query = select(c[name], c.version, c.figures).where(
            c.provider == provider, c[name].in_(some)
        )
        for one, version, stored in connection.execute(query):
            found[provider, one] = version, stored
    return found
