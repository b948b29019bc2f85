"""CSV files as people and providers export them: the delimiter is found out, spreadsheets write a
byte order mark and rows of empty cells.
"""

import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

from connectors.reasons import reason_of

_DELIMITERS = ",;\t|"


class BadTable(Exception):
    """The file is not CSV in UTF-8; the message says why."""


class Row(NamedTuple):
    """A row by the names of its columns, and its place in the file. `fault` says why the row cannot
    be read; then it has no cells.
    """

    place: str
    cells: dict[str, str]
    fault: str | None = None


def read(body: bytes) -> tuple[list[str], list[Row]]:
    """Return the names of the columns, and the rows. Raises BadTable."""
    try:
        text = body.decode("utf-8-sig")
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True
        )
        headings = [heading.strip() for heading in reader.fieldnames or ()]
        reader.fieldnames = headings
        return headings, list(_rows(reader))
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadTable(f"it is not CSV in UTF-8: {reason_of(error)}") from None


def _delimiter(text: str) -> str:
    """Return the character that separates the columns: the commonest one of the first line."""
    first = text.partition("\n")[0]
    return max(_DELIMITERS, key=lambda character: (first.count(character), character == ","))


def _rows(reader: "csv.DictReader[str]") -> Iterator[Row]:
    for cells in reader:
        place = f"line {reader.line_num}"
        if None in cells:
            yield Row(place, {}, "has more cells than there are columns")
        elif None in cells.values():
            yield Row(place, {}, "has fewer cells than there are columns: is it cut off?")
        elif any(cell.strip() for cell in cells.values()):
            yield Row(place, cells)
