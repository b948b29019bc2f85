"""Registers the links of a CSV file, as `POST /links` does."""

import csv
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.reasons import fields_reason, reason_of
from schemas.codec import LINK_REGISTERED, Codecs
from schemas.link_form import BadLink, LinkForm, registration
from schemas.records import LinkRegistered
from schemas.topics import LINKS, message_key

COLUMNS = tuple(LinkForm.model_fields)
_NEEDED = ("provider", "link_id")
_PUBLISH_SECONDS = 30.0


class BadFile(Exception):
    """The whole file is unusable; the message says why."""


class Row(NamedTuple):
    """One row: its line in the file, and either the registration or the reason to reject it."""

    line: int
    link: LinkRegistered | None
    reason: str | None


def read(file: Path, providers: Collection[str], now: int) -> list[Row]:
    """Return every row of the file; `now` in microseconds. Raises BadFile, OSError."""
    try:
        # Spreadsheets write a byte order mark first.
        with file.open(newline="", encoding="utf-8-sig") as text:
            return list(_rows(csv.DictReader(text, strict=True), providers, now))
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadFile(f"{file} is not CSV in UTF-8: {reason_of(error)}") from None


def _rows(reader: "csv.DictReader[str]", providers: Collection[str], now: int) -> Iterator[Row]:
    names = [name.strip() for name in reader.fieldnames or ()]
    wrong = [name for name in names if name not in COLUMNS]
    missing = [name for name in _NEEDED if name not in names]
    if wrong or missing:
        problem = f"no such column: {', '.join(wrong)}" if wrong else f"needs {', '.join(missing)}"
        raise BadFile(f"the first line must name the columns, of {', '.join(COLUMNS)}; {problem}")
    reader.fieldnames = names
    for cells in reader:
        try:
            yield Row(reader.line_num, _link(cells, providers, now), None)
        except (ValidationError, BadLink) as error:
            yield Row(reader.line_num, None, _reason(error))


def _link(
    cells: dict[str | None, str | None], providers: Collection[str], now: int
) -> LinkRegistered:
    """Return the registration; an empty cell is a missing field."""
    if None in cells:
        raise BadLink("row", "has more cells than there are columns")
    fields: dict[str, str | int] = {
        name: cell.strip() for name, cell in cells.items() if name and cell and cell.strip()
    }
    count = fields.get("links_in_order")
    if isinstance(count, str) and count.isascii() and count.isdigit():
        fields["links_in_order"] = int(count[:20])
    return registration(LinkForm.model_validate(fields), providers, now)


def _reason(error: ValidationError | BadLink) -> str:
    if isinstance(error, BadLink):
        return str(error)
    return fields_reason(error, whole="row")


def publish(
    cluster: Cluster,
    codecs: Codecs,
    links: Iterable[LinkRegistered],
    advance: Callable[[int], None],
) -> None:
    """Publish the registrations; call `advance` with how many more Kafka has acknowledged.

    To repeat it is harmless: an equal registration changes nothing. Raises NotAcknowledged,
    KafkaException.
    """
    records: Iterator[sync_producer.Record] = (
        (message_key(link["provider"], link["link_id"]), codecs.encode(LINK_REGISTERED, link), [])
        for link in links
    )
    sync_producer.publish(cluster, LINKS.name, records, _PUBLISH_SECONDS, advance)
