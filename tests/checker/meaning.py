"""What a raw callback, or an answer of a provider's API, may mean: a table of our own, from the
providers' documents.

It decides the plain status only. Amounts, times and ids of payments are left to the events.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

PAID_OR_NOT = frozenset({"PAID", "PROCESSING"})
_PING = {
    "CREATED": "CREATED",
    "COMPLETED": "PAID",
    "EXPIRED": "EXPIRED",
    "CANCELLED": "CANCELLED",
}
_PEACH = {
    "initiated": "CREATED",
    "opened": "OPENED",
    "processing": "PROCESSING",
    "completed": "PAID",
    "cancelled": "CANCELLED",
    "expired": "EXPIRED",
}
_IPINT = {
    "CHECKING": "PROCESSING",
    "PROCESSING": "PROCESSING",
    "COMPLETED": "PAID",
    "FAILED": "FAILED",
    "CANCELLED": "CANCELLED",
}
_TRUELAYER = {
    "enabled": "CREATED",
    "disabling": "PROCESSING",
    "disabled/fulfilled": "PAID",
    "disabled/expired": "EXPIRED",
    "payment_link_payment_created": "PROCESSING",
    "payment_settled": "PAID",
    "payment_creditable": "PAID",
    "payment_failed": "UNKNOWN",
}
_PAYMENT_ON_ITS_WAY = ("authorized", "authorizing", "authorization_required", "attempt_failed")
_IPINT_MEASURES = ("amount_in_local_currency", "amount_in_usd", "crypto_amount")
_NOT_FOUND = ("404", "410", "422")


class Meaning(NamedTuple):
    """`link_id` is None if the record names no link; `statuses` are those that its events may have,
    None if this table does not know. `joins`: it names a payment, and waits for the payment's link.
    """

    link_id: str | None
    statuses: frozenset[str] | None
    joins: bool = False


UNKNOWN = Meaning(None, None)


def meaning(provider: str, headers: Mapping[str, str], body: bytes) -> Meaning:
    """Return what the record of `callbacks.{connection}` may mean. A compressed one is not read."""
    if headers.get("content-encoding", "identity") != "identity":
        return UNKNOWN
    asked_for = headers.get("lookup-link")
    if asked_for is not None:
        asked_for = asked_for.encode("latin-1").decode(errors="replace")
        if headers.get("lookup-status", "200") in _NOT_FOUND:
            return Meaning(asked_for, frozenset({"UNKNOWN"}))
        document, of_provider = _json(body), _ANSWERS.get(provider)
        if document is None or of_provider is None or "lookup-refund" in headers:
            return Meaning(asked_for, None)
        return Meaning(asked_for, of_provider(document))
    document, of_callback = _json(body), _CALLBACKS.get(provider)
    if of_callback is None:
        return UNKNOWN
    if document is None:
        return _peach_form(body) if provider == "peach" else UNKNOWN
    return of_callback(document)


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _get(document: Any, *names: str) -> Any:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _only(*statuses: str | None) -> frozenset[str] | None:
    """Return these statuses, None if one of them is not known."""
    known = frozenset(status for status in statuses if status is not None)
    return known if len(known) == len(set(statuses)) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _plain(statuses: Mapping[str, str], name: str, document: Any) -> Meaning:
    """Return the meaning of a callback with a status and the link's id, as `name`."""
    status = _only(statuses.get(str(_get(document, "status"))))
    return Meaning(_text(_get(document, name)), status)


def _ping_answer(document: Any) -> frozenset[str] | None:
    link = _get(document, "payment_link")
    status = _PING.get(str(_get(link, "status")))
    is_whole = _get(link, "payment_id") and _get(link, "payment_order_id")
    refunds = ("UNKNOWN",) if status == "PAID" else ()
    return _only("PROCESSING" if status == "PAID" and not is_whole else status, *refunds)


def _peach_callback(document: Any) -> Meaning:
    status = _PEACH.get(str(_get(document, "status")))
    # `completed` does not tell money that was taken from money that is only authorised.
    statuses = PAID_OR_NOT if status == "PAID" else _only(status)
    link_id = _text(_get(document, "paymentId"))
    return Meaning(link_id, statuses) if link_id else UNKNOWN


def _peach_form(body: bytes) -> Meaning:
    """Only the event of a successful capture brings a payment; it names its link by a payment."""
    form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    captured = form.get("paymentType") == "CP" and form.get("result.code", "").startswith("000.")
    return Meaning(None, frozenset({"PAID", "UNKNOWN"} if captured else {"UNKNOWN"}))


def _peach_answer(document: Any) -> frozenset[str] | None:
    status = _PEACH.get(str(_get(document, "payment", "payment", "status")))
    if status != "PAID":
        return _only(status)
    if _get(document, "payment", "checkout", "paymentType") == "PA":
        return frozenset({"PROCESSING"})
    if _get(document, "payment", "payment", "amount") == 0:
        return frozenset({"PROCESSING"})
    is_test = _get(document, "payment", "checkout", "resultCode") == "000.100.110"
    return PAID_OR_NOT if is_test else frozenset({"PAID"})


def _truelayer_callback(document: Any) -> Meaning:
    kind = str(_get(document, "type"))
    link_id = _text(_get(document, "payment_link_id"))
    if kind == "payment_link_disabled":
        word = f"disabled/{_get(document, 'disabled_reason')}"
        return Meaning(link_id, _only(_TRUELAYER.get(word)))
    if kind == "payment_link_payment_created":
        return Meaning(link_id, _only(_TRUELAYER[kind]))
    # It names a payment. The link comes from another event.
    return Meaning(None, _payment_statuses(kind.removeprefix("payment_")), joins=True)


def _payment_statuses(word: str) -> frozenset[str] | None:
    if word == "executed":
        # On an external account that is the last status.
        return PAID_OR_NOT
    if word in _PAYMENT_ON_ITS_WAY or word == "settlement_stalled":
        return frozenset({"PROCESSING"})
    return _only(_TRUELAYER.get(f"payment_{word}"))


def _truelayer_answer(document: Any) -> frozenset[str] | None:
    reason = _get(document, "payment_link", "disabled_reason")
    word = f"disabled/{reason}" if reason else _get(document, "payment_link", "status")
    of_link = PAID_OR_NOT if word == "disabled" else _only(_TRUELAYER.get(str(word)))
    parts = [of_link, *_of_payments(_get(document, "payments"))]
    known = [part for part in parts if part is not None]
    return frozenset().union(*known) if len(known) == len(parts) else None


def _of_payments(payments: Any) -> Iterator[frozenset[str] | None]:
    items = _get(payments, "items") if isinstance(payments, dict) else payments
    for item in items or ():
        yield _payment_statuses(str(_get(item, "status")))
        if _get(item, "executed_at"):
            yield PAID_OR_NOT


def _ipint_answer(document: Any) -> frozenset[str] | None:
    """Completed is paid if no measure shows less received than invoiced."""
    data = _get(document, "data")
    status = _IPINT.get(str(_get(data, "transaction_status")))
    if status != "PAID":
        return _only(status)
    try:
        is_paid = all(
            Decimal(str(data[f"received_{measure}"])) >= Decimal(str(data[f"invoice_{measure}"]))
            for measure in _IPINT_MEASURES
        )
    except (KeyError, ArithmeticError):
        is_paid = False
    return frozenset({"PAID" if is_paid else "PROCESSING"})


_CALLBACKS: Mapping[str, Callable[[Any], Meaning]] = {
    "ping": partial(_plain, _PING, "payment_link_id"),
    "peach": _peach_callback,
    "truelayer": _truelayer_callback,
    "ipint": partial(_plain, _IPINT, "invoice_id"),
}
_ANSWERS = {
    "ping": _ping_answer,
    "peach": _peach_answer,
    "truelayer": _truelayer_answer,
    "ipint": _ipint_answer,
}
