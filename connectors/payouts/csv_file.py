"""Payout lines from a CSV file, as a provider's dashboard exports it. No I/O."""

from collections.abc import Iterable, Mapping

from connectors import csv_table
from connectors.csv_table import BadTable, Row
from connectors.providers.base import PayoutField, Refusal, Unreadable
from connectors.providers.payout_api import PayoutLines
from connectors.providers.payout_rows import (
    BadColumns,
    Columns,
    check_columns,
    columns_of,
    read_row,
)
from schemas.payouts import PayoutLine


class BadFile(Exception):
    """The file is not CSV with the columns of payouts; the message says why and what to do."""


def read(
    body: bytes,
    known: Mapping[PayoutField, tuple[str, ...]],
    configured: Columns,
    default_at: int,
) -> PayoutLines:
    """Return the lines of the file. A row without a time has `default_at` (microseconds).

    `known` are the provider's own names of columns, `configured` those of the settings. Raises
    BadFile.
    """
    try:
        headings, rows = csv_table.read(body)
        columns = columns_of(headings, known, configured)
        check_columns(columns, headings)
    except (BadTable, BadColumns) as error:
        raise BadFile(str(error)) from None
    return _lines(rows, columns, default_at)


def _lines(rows: Iterable[Row], columns: Columns, default_at: int) -> PayoutLines:
    lines: list[PayoutLine] = []
    refused: list[Refusal] = []
    for row in rows:
        try:
            if row.fault is not None:
                raise Unreadable(row.fault)
            line = read_row(row.cells, columns, row.place, default_at)
        except Unreadable as error:
            refused.append(Refusal(row.place, error))
        else:
            lines += [line] if line is not None else []
    return PayoutLines(tuple(lines), tuple(refused))
