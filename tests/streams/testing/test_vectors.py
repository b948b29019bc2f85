"""The test vectors of docs/vectors are what the code writes, and Node decodes them."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from schemas import ids
from schemas.cloud_events import event_headers
from schemas.topics import (
    ANOMALIES,
    ORDER_CLOSE,
    ORDER_CORRECTIONS,
    REFUNDS,
    SETTLEMENT,
    Topic,
    message_key,
)
from streams import testing
from tests.support.codecs import CODECS
from tests.support.documents import ROOT

FOLDER = ROOT / "docs/vectors"
FILE = FOLDER / "events.json"
ABOUT = (
    "Records of the event topics, as on Kafka. value_hex is the value in Confluent framing, and "
    "value what it decodes to. Without an external registry schema_id is derived from the schema. "
    "event_id is the UUIDv5, in namespace, of event_id_of as UTF-8 text: each part after '=', null "
    "as nothing, with U+001F between them."
)


def vector(topic: Topic[Any], value: Any, *event_id_of: str | int | None) -> dict[str, Any]:
    """Return a record of a topic, with what its event id is derived from."""
    schema: Any = topic.schema
    key = message_key(value["provider"], value[f"{topic.key}_id"])
    return {
        "topic": topic.name,
        "key": key.decode(),
        "headers": {name: text.decode() for name, text in event_headers(schema, key, value)},
        "schema": f"schemas/{schema.name}.avsc",
        "schema_id": CODECS.write_id(schema),
        "value_hex": CODECS.encode(schema, value).hex(),
        "value": value,
        "event_id_of": event_id_of,
    }


def vectors() -> dict[str, Any]:
    links = [testing.closed_link("L1", 900), testing.closed_link("L2", 300, payment_id=None)]
    close = testing.order_close("O1", links=links)
    unknown = testing.order_close("Å/ø 2", None, provider="truelayer_eu")
    corrected = testing.order_correction(unknown, 2**40, currency="JPY", settlements=["EXPECTED"])
    correction_of = "order-correction", "truelayer_eu", "Å/ø 2", 1
    pending = testing.refund("R1", None, state="PENDING", paid_minor=None, order_id=None)
    returned = testing.refund("R2", 300, state="RETURNED", reason="account closed")
    late = testing.anomaly("PAID_AFTER_END", "L9", "paid after EXPIRED")
    return {
        "about": ABOUT,
        "namespace": str(ids.NAMESPACE),
        "events": [
            vector(ORDER_CLOSE, close, "order-close", "ping", "O1"),
            vector(ORDER_CLOSE, unknown, "order-close", "truelayer_eu", "Å/ø 2"),
            vector(ORDER_CORRECTIONS, corrected, *correction_of),
            vector(SETTLEMENT, testing.settlement(close), "settlement", "ping", "O1", "EXPECTED"),
            vector(REFUNDS, pending, *refund_of("R1", "PENDING", None, None)),
            vector(REFUNDS, returned, *refund_of("R2", "RETURNED", 300, "SEK")),
            vector(ANOMALIES, late, "anomaly", "ping", "L9", "PAID_AFTER_END"),
        ],
    }


def refund_of(*parts: str | int | None) -> tuple[str | int | None, ...]:
    refund_id, *state_and_amount = parts
    return ("refund", "ping", "O1-L1", refund_id, "REFUND", *state_and_amount)


def test_file_is_what_the_code_writes(update_golden: bool) -> None:
    text = json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n"
    if update_golden:
        FILE.write_text(text)
    assert FILE.read_text() == text, "run this test with --update-golden, and review the change"


def test_event_ids_are_derived_from_what_the_file_tells() -> None:
    for one in vectors()["events"]:
        assert ids.event_id(*one["event_id_of"]) == one["value"]["event_id"]
        assert one["headers"]["ce_id"] == one["value"]["event_id"]


def test_node_decodes_every_value_and_derives_every_id(tmp_path: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("node and npm are not here")
    folder = tmp_path / "docs/vectors"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "schemas").mkdir()
    for schema in (ROOT / "schemas").glob("*.avsc"):
        shutil.copy(schema, tmp_path / "schemas")
    install = (npm, "install", "--silent", "--no-package-lock", "--no-audit", "--no-fund")
    options: Any = {"cwd": folder / "node", "capture_output": True, "text": True, "timeout": 60}
    try:
        installed = subprocess.run(install, **options)
    except subprocess.TimeoutExpired:
        pytest.skip("npm could not install avsc within a minute")
    if installed.returncode != 0:
        pytest.skip(f"npm could not install avsc: {installed.stderr[-300:]}")
    decoded = subprocess.run((node, "decode.js"), **options)
    assert decoded.returncode == 0, decoded.stderr
    expected = [
        {"topic": one["topic"], "event_id": one["value"]["event_id"], "value": one["value"]}
        for one in vectors()["events"]
    ]
    assert [json.loads(line) for line in decoded.stdout.splitlines()] == expected
