"""The kinds of columns of the board's tables.

Old revisions of the schema use them, too: add a kind rather than change one.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Text, text

# PostgreSQL compares byte by byte, as SQLite does. With the collation of the database's language,
# no index finds the texts that begin with a prefix.
BY_BYTES = Text().with_variant(Text(collation="C"), "postgresql")


def keys(*names: str) -> Iterator[Column[str]]:
    return (Column(name, BY_BYTES, primary_key=True) for name in names)


def texts(*names: str) -> Iterator[Column[str]]:
    return (Column(name, Text, nullable=False) for name in names)


def longs(*names: str) -> Iterator[Column[int]]:
    return (Column(name, BigInteger, nullable=False) for name in names)


def position(*, key: bool = False) -> Iterator[Column[int]]:
    """The partition and the offset of the Kafka record that a row comes from."""
    for name, number in (("partition", Integer), ("offset", BigInteger)):
        yield Column(name, number, primary_key=key, nullable=False, autoincrement=False)


def mark() -> Iterator[Column[Any]]:
    """The latest mark of a row: `version` is its time, `record` its notice."""
    yield Column("resolved", Boolean, nullable=False)
    yield from longs("version")
    yield from texts("record")


def wait() -> Iterator[Column[Any]]:
    """Whom an order or a link waits for, and since when; null: for nothing but the payer."""
    yield Column("waits_for", Text)
    yield Column("waiting_since", BigInteger)


def waiting_index(name: str) -> Index:
    """The few rows that wait."""
    waits = text("waits_for IS NOT NULL")
    return Index(name, "waits_for", "waiting_since", sqlite_where=waits, postgresql_where=waits)


def figures() -> Column[Any]:
    """What the row adds to the money of its days (`figures`); null: nothing yet."""
    return Column("figures", Text)
