"""What Peach sends besides link events: Checkout (form-encoded), batches, configuration probes."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from connectors import reading
from connectors.peach import links
from connectors.provider import Raw, Unreadable
from schemas.records import LinkEvent, Notice, PaymentEvent

# Outcome by result code, in order, from "Response codes"; what matches nothing is rejected.
# The two 100.396 codes are from the documents of the card platform beneath.
OUTCOMES = (
    (re.compile(r"000\.000\.|000\.100\.1|000\.[36]|000\.400\.1[12]0"), "successful"),
    (re.compile(r"000\.400\.0"), "successful"),
    (re.compile(r"000\.200"), "pending"),
    (re.compile(r"100\.396\.101"), "cancelled"),
    (re.compile(r"100\.396\.104"), "uncertain"),
)
TEST_MODE = "000.100.110"
MANUAL_REVIEW = "000.400.0"

BATCH_STATUS = frozenset({"initiated", "processing", "completed", "error", "expired"})
# The batch payload is undocumented; these are fields of the batch query.
BATCH_FIELDS = ("batchId", "totalRows", "successfulRows")

_CODE = re.compile(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}")
_KEPT = (
    "id",
    "checkoutId",
    "amount",
    "currency",
    "merchantTransactionId",
    "merchantInvoiceId",
    "paymentBrand",
    "paymentType",
    "result.code",
    "result.description",
    "timestamp",
)


def is_form(body: bytes, content_type: str) -> bool:
    """Whether this is a Checkout event: by its content type, unless the body is plainly JSON."""
    if body.lstrip()[:1] in (b"{", b"["):
        return False
    return "form-urlencoded" in content_type.lower() or b"result.code=" in body


def fields(body: bytes) -> dict[str, str]:
    """The form's fields. Raises Unreadable."""
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=500))
    except ValueError:
        raise Unreadable("the form is not UTF-8 or has too many fields") from None


def outcome(code: str) -> str:
    """What became of the payment. Raises Unreadable for what is no result code."""
    if not _CODE.fullmatch(code):
        raise Unreadable("result.code: not of the form ddd.ddd.ddd")
    return next((word for pattern, word in OUTCOMES if pattern.match(code)), "rejected")


def checkout_notice(raw: Raw) -> Notice:
    """A Checkout event. It never says that a link is paid: the link's own event or lookup does."""
    form = fields(raw.body)
    if any("\0" in value for value in form.values()):
        raise Unreadable("the body holds a NUL character")
    if "result.code" not in form:
        raise Unreadable("result.code: missing")
    subject = form.get("checkoutId") or form.get("id")
    if not reading.is_identifier(subject):
        raise Unreadable("checkoutId: missing or no identifier")
    code = form["result.code"]
    status = outcome(code)
    attributes = {name: form[name] for name in _KEPT if name in form}
    if "registrationId" in form:
        attributes["registrationId"] = reading.masked(form["registrationId"])
    if code == TEST_MODE:
        attributes["mode"] = "test"
    if code.startswith(MANUAL_REVIEW):
        attributes["review"] = "manual"
    kind = "refund" if form.get("paymentType") == "RF" else "checkout"
    return raw.notice(kind, subject_id=subject, status=status, attributes=attributes)


def told_of(raw: Raw, notice: Notice) -> tuple[PaymentEvent, ...]:
    """The event for the timeline of the Checkout's link, to be joined to it by the Checkout's id.

    It changes no status: UNKNOWN. What is not proven waits for no link: anybody could send it.
    """
    checkout_id = notice["attributes"].get("checkoutId")
    if not raw.verified or not reading.is_identifier(checkout_id):
        return ()
    word, code = f"{notice['kind']}/{notice['status']}", notice["attributes"]["result.code"]
    event = raw.event(
        "",
        "UNKNOWN",
        word,
        reason=notice["attributes"].get("result.description"),
        attributes=notice["attributes"] | links.brand(notice["attributes"].get("paymentBrand")),
        identity=(word, checkout_id, notice["attributes"].get("id"), code),
    )
    return (_payment_event(raw, checkout_id, event=event),)


def belongs(raw: Raw, checkout_id: str | None, link_id: str) -> tuple[PaymentEvent, ...]:
    """The fact that a Checkout is a link's, for the join."""
    if not reading.is_identifier(checkout_id):
        return ()
    return (_payment_event(raw, checkout_id, link_id=link_id),)


def _payment_event(
    raw: Raw, checkout_id: str, link_id: str | None = None, event: LinkEvent | None = None
) -> PaymentEvent:
    return {
        "provider": raw.provider,
        "payment_id": checkout_id,
        "link_id": link_id,
        "event": event,
    }


def is_batch(payload: Mapping[str, Any]) -> bool:
    """By a field that only batches have, or by an id of its own with the status of a batch."""
    if "paymentId" in payload:
        return False
    status = payload.get("status")
    known = isinstance(status, str) and status in BATCH_STATUS
    return any(name in payload for name in BATCH_FIELDS) or (known and "id" in payload)


def is_probe(payload: Mapping[str, Any]) -> bool:
    """The probe's fields are undocumented: it is JSON without a payment and without a status."""
    return not is_batch(payload) and "paymentId" not in payload and "status" not in payload


def other_notice(raw: Raw, payload: Mapping[str, Any]) -> Notice:
    """A batch event or a configuration probe. Raises Unreadable for other JSON without payment."""
    if is_probe(payload):
        return raw.notice("configuration", attributes=reading.texts(payload))
    if not is_batch(payload):
        raise Unreadable("paymentId: missing")
    status = payload.get("status")
    if not isinstance(status, str) or status not in BATCH_STATUS:
        raise Unreadable("status: no batch status known")
    batch = payload.get("batchId", payload.get("id"))
    if not reading.is_identifier(batch):
        raise Unreadable("batchId: missing or no identifier")
    told = ("batchId" if "batchId" in payload else "id", "status")
    rest = {name: value for name, value in payload.items() if name not in told}
    return raw.notice("batch", subject_id=batch, status=status, attributes=reading.texts(rest))
