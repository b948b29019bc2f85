"""Batches of the simulated Peach: a batch is created, its file uploaded, its links created.

Webhooks of a batch are unsigned. Their fields are not documented, so they have the names in the
batch query; the columns of the file have the names in the request for one link.
"""

import csv
import io
from uuid import uuid4

from connectors.providers.base import ApiResponse
from connectors.providers.peach import link_sandbox as links
from connectors.providers.simulator import (
    SECOND,
    Callback,
    Doc,
    json_callback,
    json_response,
    rfc3339,
)

MAX_ROWS = 1000
UPLOAD_SECONDS = 3 * 3600
COLUMNS = frozenset({"amount", "currency"})


def new(api_url: str, body: Doc, now: int) -> Doc:
    """Return a new batch, which waits for its file."""
    batch_id = str(uuid4())
    return {
        "id": batch_id,
        "status": "initiated",
        "filename": body.get("filename"),
        "notificationUrl": body.get("notificationUrl"),
        "url": f"{api_url}/api/batches/{batch_id}/file",
        "uploadUntil": now + UPLOAD_SECONDS * SECOND,
        "createdAt": rfc3339(now),
        "successfulRows": 0,
        "totalRows": 0,
        "errorCode": None,
    }


def webhook(batch: Doc) -> Callback:
    event = {"batchId": batch["id"], "status": batch["status"]}
    rows = {name: batch[name] for name in ("successfulRows", "totalRows") if batch["totalRows"]}
    return json_callback(event | rows, batch["notificationUrl"])


def shown(batch: Doc) -> ApiResponse:
    names = ("id", "status", "filename", "successfulRows", "totalRows", "errorCode", "createdAt")
    return json_response(200, {name: batch[name] for name in names})


def read(file: bytes, now: int) -> tuple[list[Doc], int]:
    """Return the links of a file and its number of rows. Raises ValueError if it is invalid."""
    table = csv.DictReader(io.StringIO(file.decode()))
    if not set(table.fieldnames or ()) >= COLUMNS:
        raise ValueError("columns are missing")
    rows = list(table)
    if not 0 < len(rows) <= MAX_ROWS:
        raise ValueError("no rows, or too many")
    return [_link(row, now) for row in rows if _is_amount(row["amount"])], len(rows)


def _is_amount(text: str | None) -> bool:
    whole, _, part = (text or "").partition(".")
    return whole.isdecimal() and (not part or part.isdecimal())


def _link(row: dict[str, str], now: int) -> Doc:
    link = links.new(str(uuid4()), row["amount"], row["currency"], now)
    invoice_id = row.get("merchantInvoiceId")
    return link | ({"merchantInvoiceId": invoice_id} if invoice_id else {})
