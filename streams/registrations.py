"""Registrations of links from a CSV file, into the topic `links`: as POST /links takes them."""

import csv
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import KafkaError, Message, Producer
from pydantic import ValidationError

from connectors import producing
from connectors.edge.links import BadLink, LinkForm, registration
from connectors.kafka import Cluster
from schemas.codec import LINK_REGISTERED
from schemas.records import LinkRegistered
from schemas.topics import LINKS, message_key

COLUMNS = tuple(LinkForm.model_fields)
_NEEDED = ("provider", "link_id")
_FLUSH_SECONDS = 30.0


class BadFile(Exception):
    """The file as a whole cannot be read; the message says why."""


class NotRegistered(Exception):
    """Kafka did not take the registrations; the message says why."""


class Row(NamedTuple):
    """One row: its line in the file, and either the registration or why it is rejected."""

    line: int
    link: LinkRegistered | None
    reason: str | None


def read(file: Path, providers: Collection[str], now: int) -> list[Row]:
    """Every row of the file, `now` in microseconds. Raises BadFile, OSError."""
    try:
        # Spreadsheets put a byte order mark in front.
        with file.open(newline="", encoding="utf-8-sig") as text:
            return list(_rows(csv.DictReader(text, strict=True), providers, now))
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadFile(f"{file} is no CSV in UTF-8: {error}") from None


def _rows(reader: "csv.DictReader[str]", providers: Collection[str], now: int) -> Iterator[Row]:
    names = [name.strip() for name in reader.fieldnames or ()]
    wrong = [name for name in names if name not in COLUMNS]
    missing = [name for name in _NEEDED if name not in names]
    if wrong or missing:
        what = f"no such column: {', '.join(wrong)}" if wrong else f"needs {', '.join(missing)}"
        raise BadFile(f"the first line must name the columns, of {', '.join(COLUMNS)}; {what}")
    reader.fieldnames = names
    for cells in reader:
        try:
            yield Row(reader.line_num, _link(cells, providers, now), None)
        except (ValidationError, BadLink) as error:
            yield Row(reader.line_num, None, _reason(error))


def _link(
    cells: dict[str | None, str | None], providers: Collection[str], now: int
) -> LinkRegistered:
    """An empty cell is a field that is not given."""
    if None in cells:
        raise BadLink("row", "has more cells than there are columns")
    said: dict[str, str | int] = {
        name: cell.strip() for name, cell in cells.items() if name and cell and cell.strip()
    }
    count = said.get("links_in_order")
    if isinstance(count, str) and count.isascii() and count.isdigit():
        said["links_in_order"] = int(count[:20])
    return registration(json.dumps(said).encode(), providers, now)


def _reason(error: ValidationError | BadLink) -> str:
    if isinstance(error, BadLink):
        return str(error)
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in details)


def publish(cluster: Cluster, links: Collection[LinkRegistered]) -> Iterator[int]:
    """Publishes them all; yields how many more Kafka has. Raises NotRegistered, KafkaException.

    Doing it again is harmless: a registration that says the same changes nothing.
    """
    acknowledged, failures = [0], []

    def delivered(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures.append(str(error))
        acknowledged[0] += error is None

    producer = Producer(producing.settings(cluster))
    told = 0
    for link in links:
        key = message_key(link["provider"], link["link_id"])
        value = LINK_REGISTERED.encode(link)
        while True:
            try:
                producer.produce(cluster.topic(LINKS.name), value, key, on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        yield acknowledged[0] - told
        told = acknowledged[0]
    waiting = producer.flush(_FLUSH_SECONDS)
    if waiting or failures:
        why = failures[0] if failures else "no answer"
        raise NotRegistered(f"{acknowledged[0]} of {len(links)} were registered: {why}")
    yield acknowledged[0] - told
