"""The drawing of `linkstatus status`: a link's life, from its first event to its settlement."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from connectors.board.http.text import plural
from schemas.records import Status
from streams.cli.tables import duration, grid, money, status_style, text, time
from streams.domain.rules import RANK

Doc = dict[str, Any]
# The provider's own time is shown where it differs from ours by this much.
_LATE = timedelta(seconds=1)
_ORDER_FROM = {"SELF": "its own", "REGISTRATION": "as registered", "LOOKUP": "from the provider"}


class Entry(NamedTuple):
    """One line of the timeline. `source` is how the fact reached us, or its topic; `status` the
    verified status that it proves.
    """

    at: datetime
    label: str
    source: str
    detail: str = ""
    style: str = ""
    status: Status | None = None


def draw(link: Doc, order: Doc | None) -> RenderableType:
    """The link and its order, from the board's answers."""
    style = f"{status_style(link['status'])} reverse"
    name = text(f"{link['provider']} {link['link_id']}", "bold")
    headline = Text.assemble(text(link["status"], style), "  ", name)
    parts: list[RenderableType] = [headline, _facts(link)]
    if timeline := sorted(_entries(link, order), key=lambda entry: entry.at):
        parts += ["", _timeline(timeline)]
    if link["anomaly_details"]:
        parts += ["", _anomalies(link["anomaly_details"])]
    if order is not None:
        parts += ["", _order(link, order)]
    return Group(*parts)


def _entries(link: Doc, order: Doc | None) -> Iterator[Entry]:
    for event in link["timeline"]:
        yield from _event(event)
    for anomaly in link["anomaly_details"]:
        yield from _entry(anomaly["at"], "ANOMALY", "anomalies", anomaly["kind"], "bold red")
    for action in link["actions"]:
        yield from _action(action)
    if order:
        yield from _order_entries(order)


def _entry(at: Any, *rest: Any) -> Iterator[Entry]:
    """The entry, unless its time is missing."""
    if (known := time(at)) is not None:
        yield Entry(known, *rest)


def _event(event: Doc) -> Iterator[Entry]:
    status, verified, source = event["status"], event["verified"], event["source"]
    # An event without a status proves none.
    label = "-" if status == "UNKNOWN" else status
    if refund := event["refund"]:
        label = refund["kind"]
    if source != "registration":
        source += " verified" if verified else " claim"
    shown = (status_style(status), status) if verified else ("dim", None)
    yield from _entry(event["received_at"], label, source, _join(*_details(event)), *shown)


def _details(event: Doc) -> Iterator[str]:
    if event["source"] != "registration":
        yield event["provider_status"]
    if event["denies"]:
        yield f"denies {event['denies']}"
    if amount := _money(event["refund"] or {}, "amount_minor"):
        yield amount
    if amount := _money(event, "amount_minor"):
        yield amount
    if received := _money(event, "received_minor"):
        yield f"received {received}"
    if event["reason"]:
        yield event["reason"]
    if occurred := _earlier(event["occurred_at"], event["received_at"]):
        yield f"occurred {occurred}"
    if event["registration"]:
        yield from _registered(event["registration"], event["received_at"])


def _registered(registration: Doc, received_at: Any) -> Iterator[str]:
    """What a registration says, whether or not it is the one that counts."""
    order_id, count = registration["order_id"], registration["links_in_order"]
    yield "no order" if order_id is None else f"order {order_id}"
    if count is not None:
        yield plural(count, "link")
    if amount := _money(registration, "amount_minor"):
        yield amount
    if expires_at := time(registration["expires_at"]):
        yield f"expires {expires_at:%Y-%m-%d %H:%M:%S}"
    if at := _earlier(registration["registered_at"], received_at):
        yield f"registered {at}"


def _earlier(at: Any, received_at: Any) -> str:
    """The time `at`; empty if it is about that of the arrival."""
    at, received_at = time(at), time(received_at)
    if not at or not received_at or abs(received_at - at) < _LATE:
        return ""
    day = "" if at.date() == received_at.date() else "%Y-%m-%d "
    return str(at.strftime(day + "%H:%M:%S"))


def _action(action: Doc) -> Iterator[Entry]:
    attributes, status = action["attributes"], action["status"]
    label = action["kind"].replace("_", " ").upper()
    if action["kind"] == "anomaly_marked":
        label = "RESOLVED" if status == "resolved" else "REOPENED"
    note = attributes.get("note") or attributes.get("answer")
    detail = _join(attributes.get("kind"), f"by {attributes.get('by')}", note)
    yield from _entry(action["received_at"], label, "notices", detail, "bold")


def _order_entries(order: Doc) -> Iterator[Entry]:
    if close := order["close"]:
        detail = _join(plural(len(close["links"]), "link"), _money(close, "total_minor"))
        yield from _entry(close["decided_at"], "CLOSE", "order-close", detail, "bold")
    for correction in order["corrections"]:
        amount = _money(correction, "total_minor")
        yield from _entry(
            correction["decided_at"], "CORRECTED", "order-corrections", amount, "bold"
        )
    for step, at in order["steps"].items():
        failure = (order["failure"] or "") if step == "FAILED" else ""
        style = "bold red" if step == "FAILED" else "bold"
        yield from _entry(at, step, "order-updates", failure, style)
    for settlement in order["settlements"]:
        kind, amount = settlement["kind"], _money(settlement, "amount_minor")
        style = "bold green" if kind == "CONFIRMED" else "bold"
        yield from _entry(settlement["decided_at"], kind, "settlement", amount, style)


def _facts(link: Doc) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _known(link):
        table.add_row(name, value)
    return table


def _known(link: Doc) -> Iterator[tuple[str, Text]]:
    if link["reason"]:
        yield "reason", text(link["reason"], "magenta")
    elif link["claimed_status"]:
        yield "claimed", text(f"{link['claimed_status']}, not proven", "magenta")
    if amounts := _amounts(link):
        yield "amount", text(amounts)
    if link["refunds"]:
        yield "went back", text(_went_back(link), "bold")
    for payment in link["payment_ids"]:
        yield "payment", text(payment)
    yield "order", text(_order_name(link))
    if expires := (link["registration"] or {}).get("expires_at"):
        at = time(expires)
        yield "expires", text(f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else expires)
    if link["anomalies"]:
        yield "anomalies", text(" ".join(link["anomalies"]), "bold red")


def _amounts(link: Doc) -> str:
    """The paid and the registered amount, and what was received."""
    registered = _money(link["registration"] or {}, "amount_minor")
    paid, received = _money(link, "amount_minor"), _money(link, "received_minor")
    differs = paid and registered and paid != registered
    return _join(
        paid or registered,
        f"registered with {registered}" if differs else "",
        f"received {received}" if received else "",
    )


def is_in_order(link: Doc) -> bool:
    """Whether the link belongs to an order; a claim alone does not."""
    return bool(link["verified"]) and link["order_from"] != "AWAITED"


def _went_back(doc: Doc) -> str:
    """What was refunded, what is disputed, and what remains."""
    refunded, disputed, net = (
        _money(doc, name) or "an unknown amount"
        for name in ("refunded_minor", "disputed_minor", "net_minor")
    )
    return _join(
        f"refunded {refunded}",
        f"disputed {disputed}" if doc["disputed_minor"] != 0 else "",
        f"remains {net}",
    )


def _order_name(link: Doc) -> str:
    source = link["order_from"]
    if source == "AWAITED":
        return "unknown until a lookup or a registration names it"
    if not link["verified"]:
        return "none until the provider confirms the link, or it is registered"
    return f"{link['order_id']} ({_ORDER_FROM.get(source, source)})"


def _timeline(timeline: Sequence[Entry]) -> RenderableType:
    first = timeline[0].at
    table = Table(box=None, show_header=False, pad_edge=False, padding=0)
    for justify in ("left", "right", "left", "left", "left"):
        table.add_column(no_wrap=True, justify=justify)
    table.add_column(overflow="fold")
    day, highest = first.date(), 0
    for entry in timeline:
        if entry.at.date() != day:
            day = entry.at.date()
            table.add_row(Text(f"{day:%m-%d}", "bold"))
        rank = RANK.get(entry.status, 0) if entry.status else 0
        table.add_row(
            f"{entry.at:%H:%M:%S}  ",
            "" if entry.at == first else f"+{duration(entry.at - first)}",
            Text(" > " if rank > highest else "   ", "bold"),
            text(f"{entry.label}  ", entry.style),
            text(f"{entry.source}  ", "dim" if entry.source.endswith("claim") else ""),
            text(entry.detail),
        )
        highest = max(highest, rank)
    return Group(Text(f"{first:%Y-%m-%d} UTC", "bold"), table)


def _anomalies(anomalies: Iterable[Doc]) -> Table:
    table = grid("anomaly", "detail")
    table.columns[0].no_wrap = True
    for anomaly in anomalies:
        mark = anomaly["resolved"]
        detail = anomaly["detail"] + (f" (resolved by {mark['by']})" if mark else "")
        table.add_row(text(anomaly["kind"], "dim" if mark else "bold red"), text(detail))
    return table


def _order(link: Doc, order: Doc) -> RenderableType:
    name, state = text(order["order_id"], "bold"), text(_state(order), "bold")
    parts: list[RenderableType] = [Text.assemble("order ", name, ": ", state, _durations(order))]
    if others := [one for one in order["links"] if one["link_id"] != link["link_id"]]:
        table = grid("its other links", "status", "amount")
        for one in others:
            status = text(one["status"], status_style(one["status"]))
            table.add_row(text(one["link_id"]), status, _money(one, "amount_minor"))
        parts.append(table)
    if waiting := order["waiting"]:
        parts.append(text(waiting["reason"], "yellow"))
    if order["refunds"]:
        parts.append(text(_went_back(order["money_back"]), "bold"))
    return Group(*parts)


def _state(order: Doc) -> str:
    kinds = {settlement["kind"] for settlement in order["settlements"]}
    if order["state"] == "CLOSE_DECIDED" and kinds:
        return f"close decided, settlement {'CONFIRMED' if 'CONFIRMED' in kinds else 'EXPECTED'}"
    state: str = order["state"].replace("_", " ")
    return f"{state} ({order['failure']})" if order["failure"] else state


def _durations(order: Doc) -> str:
    durations = order["durations"]
    parts = _join(
        *(
            f"{step.replace('_', ' ')} {duration(timedelta(seconds=seconds))}"
            for step in ("paid_to_closed", "closed_to_settled")
            if (seconds := durations[f"{step}_seconds"]) is not None
        )
    )
    return f"; {parts}" if parts else ""


def _join(*parts: str | None) -> str:
    return ", ".join(filter(None, parts))


def _money(doc: Doc, name: str) -> str:
    return money(doc.get(name), doc.get("currency"))
