"""The ids of links in a file: CSV, or one JSON object of the provider a line. No I/O.

A file only names links. What counts is what the provider's API answers about each of them, so it
does not matter whose file it is.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from connectors import csv_table
from connectors.csv_table import BadTable, Row
from connectors.providers.link_list import LinkIds
from connectors.providers.payout_rows import letters
from connectors.reasons import reason_of
from schemas import ids
from schemas.limits import IMPORT_LINKS

# The name of the id in registrations (`linkstatus links add`), whose files can be imported.
_OURS = "linkid"
_ACCOUNT = "provider"
# What may come before the first object: a byte order mark and white space.
_BLANK = b"\xef\xbb\xbf \t\r\n"


class BadFile(Exception):
    """The file names no links; the message says why and what to do."""


def window_of(body: bytes) -> str:
    """Return the name of a file's window: the same content has the same name."""
    return f"file/{sha256(body).hexdigest()[:32]}"


def read(body: bytes, account: str, columns: Sequence[str]) -> LinkIds:
    """Return the links of the file. Rows whose `provider` is another account are left out.

    `columns` are the provider's names of a link's id, the surest one first. Raises BadFile.
    """
    names = (_OURS, *columns)
    try:
        is_json = body.lstrip(_BLANK).startswith(b"{")
        rows = list(_objects(body)) if is_json else _cells(body, names)
    except BadTable as error:
        raise BadFile(str(error)) from None
    found = _ids(rows, account, names)
    if len(found.ids) > IMPORT_LINKS:
        raise BadFile(f"it names more than {IMPORT_LINKS:,} links: divide it")
    return found


def _cells(body: bytes, names: Sequence[str]) -> list[Row]:
    """Return the rows of a CSV file. Raises BadFile, BadTable."""
    headings, rows = csv_table.read(body)
    if not {letters(heading) for heading in headings} & {*names}:
        known = " or ".join(("link_id", *names[1:]))
        raise BadFile(
            f"its first line is no JSON object, and names no column {known}, but "
            f"{', '.join(headings) or 'none'}"
        )
    return rows


def _objects(body: bytes) -> Iterator[Row]:
    """Yield the objects of a file with one a line. Raises BadTable."""
    try:
        lines = body.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadTable(f"it is not UTF-8: {reason_of(error)}") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _object(f"line {number}", line)


def _object(place: str, line: str) -> Row:
    try:
        document: Any = json.loads(line)
    except (ValueError, RecursionError):
        return Row(place, {}, "is not JSON")
    if not isinstance(document, dict):
        return Row(place, {}, "is no JSON object")
    return Row(place, {name: text for name, text in document.items() if isinstance(text, str)})


def _ids(rows: Iterable[Row], account: str, names: Sequence[str]) -> LinkIds:
    found: dict[str, None] = {}
    refused: list[str] = []
    for row in rows:
        cells = {letters(name): cell.strip() for name, cell in row.cells.items()}
        link_id = _first(cells, names)
        if row.fault is not None:
            refused.append(f"{row.place}: {row.fault}")
        elif cells.get(_ACCOUNT, account) not in ("", account):
            continue
        elif ids.is_identifier(link_id):
            found[link_id] = None
        else:
            refused.append(f"{row.place}: has no id of a link")
    return LinkIds(tuple(found), tuple(refused))


def _first(cells: Mapping[str, str], names: Sequence[str]) -> Any:
    return next((cells[name] for name in names if cells.get(name)), None)
