"""Payout lines from a CSV file, as a provider's dashboard exports it. No I/O."""

import csv
import io
from collections.abc import Mapping

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

_DELIMITERS = ",;\t|"


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
        # Spreadsheets write a byte order mark first.
        text = body.decode("utf-8-sig")
        delimiter = _delimiter(text)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        headings = [heading.strip() for heading in reader.fieldnames or ()]
        reader.fieldnames = headings
        columns = columns_of(headings, known, configured)
        check_columns(columns, headings)
        return _lines(reader, columns, default_at)
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadFile(f"it is not CSV in UTF-8: {error}") from None
    except BadColumns as error:
        raise BadFile(str(error)) from None


def _delimiter(text: str) -> str:
    """Return the character that separates the columns: the commonest one of the first line."""
    first = text.partition("\n")[0]
    return max(_DELIMITERS, key=lambda character: (first.count(character), character == ","))


def _lines(reader: "csv.DictReader[str]", columns: Columns, default_at: int) -> PayoutLines:
    lines: list[PayoutLine] = []
    refused: list[Refusal] = []
    for row in reader:
        place = f"line {reader.line_num}"
        try:
            if None in row:
                raise Unreadable("has more cells than there are columns")
            if None in row.values():
                raise Unreadable("has fewer cells than there are columns: is it cut off?")
            if not any(cell.strip() for cell in row.values()):
                # Spreadsheets write rows of empty cells.
                continue
            line = read_row(row, columns, place, default_at)
        except Unreadable as error:
            refused.append(Refusal(place, error))
        else:
            lines += [line] if line is not None else []
    return PayoutLines(tuple(lines), tuple(refused))
