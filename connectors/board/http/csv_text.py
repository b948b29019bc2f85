"""Rows as CSV (RFC 4180) that a spreadsheet opens without running anything."""

import csv
import io
from collections.abc import Iterable
from decimal import Decimal

Cell = str | int | Decimal | None
# A spreadsheet takes a cell that begins like this for a formula, or drops the character and then
# does (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def text(rows: Iterable[Iterable[Cell]]) -> str:
    """Return the rows as CSV. A text that a spreadsheet would run gets an apostrophe in front;
    numbers stay numbers.
    """
    output = io.StringIO()
    csv.writer(output).writerows([_shown(cell) for cell in row] for row in rows)
    return output.getvalue()


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, str):
        return format(cell, "f") if isinstance(cell, Decimal) else str(cell)
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell
