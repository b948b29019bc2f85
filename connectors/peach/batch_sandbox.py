"""Batches of the simulated Peach: a file of links, made, uploaded, worked through.

The batch's own webhooks come unsigned. Their fields are undocumented: they are named as in the
batch query, and so are the columns of the file as in the request for one link.
"""

import csv
import io
from uuid import uuid4

from connectors.peach import link_sandbox as links
from connectors.provider import ApiResponse
from connectors.sandbox.simulator import SECOND, Callback, Doc, answered, rfc3339, said

MOST_ROWS = 1000
UPLOAD_SECONDS = 3 * 3600
COLUMNS = frozenset({"amount", "currency"})


def new(base_url: str, body: Doc, now: int) -> Doc:
    """A batch as it starts: it waits for its file."""
    batch_id = str(uuid4())
    return {
        "id": batch_id,
        "status": "initiated",
        "filename": body.get("filename"),
        "notificationUrl": body.get("notificationUrl"),
        "url": f"{base_url}/peach/api/batches/{batch_id}/file",
        "uploadUntil": now + UPLOAD_SECONDS * SECOND,
        "createdAt": rfc3339(now),
        "successfulRows": 0,
        "totalRows": 0,
        "errorCode": None,
    }


def webhook(batch: Doc) -> Callback:
    """What the batch says of its status."""
    rows = {name: batch[name] for name in ("successfulRows", "totalRows") if batch["totalRows"]}
    about = {"batchId": batch["id"], "status": batch["status"]}
    return said(about | rows, batch["notificationUrl"])


def shown(batch: Doc) -> ApiResponse:
    """The batch as a query shows it."""
    names = ("id", "status", "filename", "successfulRows", "totalRows", "errorCode", "createdAt")
    return answered(200, {name: batch[name] for name in names})


def read(file: bytes, now: int) -> tuple[list[Doc], int]:
    """The links of a file, and how many rows it has. Raises ValueError when it is no such file."""
    table = csv.DictReader(io.StringIO(file.decode()))
    if not set(table.fieldnames or ()) >= COLUMNS:
        raise ValueError("columns are missing")
    rows = list(table)
    if not 0 < len(rows) <= MOST_ROWS:
        raise ValueError("no rows, or too many")
    made = [_link(row, now) for row in rows if _is_amount(row["amount"])]
    return made, len(rows)


def _is_amount(text: str | None) -> bool:
    whole, _, part = (text or "").partition(".")
    return whole.isdecimal() and (not part or part.isdecimal())


def _link(row: dict[str, str], now: int) -> Doc:
    link = links.new(str(uuid4()), row["amount"], row["currency"], now)
    return link | (
        {"merchantInvoiceId": invoice} if (invoice := row.get("merchantInvoiceId")) else {}
    )
