"""A link's life as `linkstatus status` draws it: from the first word of it to its settlement."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from schemas.records import Status
from streams.cli.drawing import grid, lasted, moment, money, status_style, text
from streams.domain.rules import RANK

Doc = dict[str, Any]
# Where the provider's own time of a fact differs from ours by less, it says nothing more.
_LATE = timedelta(seconds=1)


# What people did on the board.
_DEEDS = {("anomaly handled", "done"): "DONE", ("anomaly handled", "open"): "REOPENED"}


class Moment(NamedTuple):
    """One line of the timeline. `source` is how it came to us, or the topic that says it."""

    at: datetime
    what: str
    source: str
    detail: str = ""
    style: str = ""
    # The verified status that it tells, if it is that.
    status: Status | None = None


def drawn(link: Doc, order: Doc | None) -> RenderableType:
    """The link and its order, as the board answers for them."""
    parts: list[RenderableType] = [_headline(link), _facts(link)]
    if timeline := sorted(moments(link, order), key=lambda one: one.at):
        parts += ["", _timeline(timeline)]
    if link["anomaly_details"]:
        parts += ["", _anomalies(link["anomaly_details"])]
    if order is not None:
        parts += ["", _order(link, order)]
    return Group(*parts)


def moments(link: Doc, order: Doc | None) -> Iterator[Moment]:
    """All that has a time, in no order but that of its kind."""
    for event in link["timeline"]:
        proven = event["status"] if event["verified"] else None
        yield from _at(event["received_at"], _fact(event), proven)
    for anomaly in link["anomaly_details"]:
        yield from _at(anomaly["at"], ("ANOMALY", "anomalies", anomaly["kind"], "bold red"))
    for deed in link.get("deeds", ()):
        told = deed["attributes"]
        what = _DEEDS.get((deed["kind"], deed["status"]), deed["kind"].upper())
        said = told.get("note") or told.get("answer") or ""
        words = ", ".join(filter(None, (told.get("kind"), f"by {told.get('by')}", said)))
        yield from _at(deed["received_at"], (what, "notices", words, "bold"))
    if order is None:
        return
    if close := order["close"]:
        known = [_counted(len(close["links"]), "link"), _sum(close, "total_minor")]
        said = ", ".join(filter(None, known))
        yield from _at(close["decided_at"], ("CLOSE", "order-close", said, "bold"))
    for step, at in order["steps"].items():
        failed = step == "FAILED"
        detail = order["failure"] or "" if failed else ""
        yield from _at(at, (step, "order-updates", detail, "bold red" if failed else "bold"))
    for settled in order["settlements"]:
        style = "bold green" if settled["kind"] == "CONFIRMED" else "bold"
        yield from _at(
            settled["decided_at"],
            (settled["kind"], "settlement", _sum(settled, "amount_minor"), style),
        )


def _at(
    when: Any, rest: tuple[str, str, str, str], status: Status | None = None
) -> Iterator[Moment]:
    if (at := moment(when)) is not None:
        yield Moment(at, *rest, status)


def _fact(event: Doc) -> tuple[str, str, str, str]:
    trust = "verified" if event["verified"] else "claim"
    source = event["source"] if event["source"] == "registration" else f"{event['source']} {trust}"
    style = status_style(event["status"]) if event["verified"] else "dim"
    # What says nothing of the status is no unknown status.
    what = "-" if event["status"] == "UNKNOWN" else event["status"]
    return what, source, ", ".join(_said(event)), style


def _said(event: Doc) -> Iterator[str]:
    """What an event says besides its status."""
    if event["source"] != "registration":
        yield event["provider_status"]
    if event["denies"]:
        yield f"denies {event['denies']}"
    agreed = event["registration"] or {}
    if amount := _sum(event, "amount_minor") or _sum(agreed, "amount_minor"):
        yield amount
    if received := _sum(event, "received_minor"):
        yield f"received {received}"
    if event["reason"]:
        yield event["reason"]
    happened, heard = moment(event["occurred_at"]), moment(event["received_at"])
    if happened and heard and abs(heard - happened) >= _LATE:
        same_day = happened.date() == heard.date()
        yield f"happened {happened:{'%H:%M:%S' if same_day else '%Y-%m-%d %H:%M:%S'}}"


def _headline(link: Doc) -> RenderableType:
    return Text.assemble(
        text(link["status"], f"{status_style(link['status'])} reverse"),
        "  ",
        text(f"{link['provider']} {link['link_id']}", "bold"),
    )


def _facts(link: Doc) -> Table:
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _known(link):
        facts.add_row(name, value)
    return facts


def _known(link: Doc) -> Iterator[tuple[str, Text]]:
    if link["claimed_status"]:
        yield "claimed", text(f"{link['claimed_status']}, not proven", "magenta")
    if asked := _asked(link):
        yield "amount", text(asked)
    for payment in link["payment_ids"]:
        yield "payment", text(payment)
    yield "order", text(_order_of(link))
    if expires := (link["registration"] or {}).get("expires_at"):
        yield "expires", text(_instant(moment(expires)))
    if link["anomalies"]:
        yield "anomalies", text(" ".join(link["anomalies"]), "bold red")


def _asked(link: Doc) -> str:
    """What was asked and what came."""
    agreed = _sum(link["registration"] or {}, "amount_minor")
    paid = _sum(link, "amount_minor")
    said = [paid or agreed]
    if paid and agreed and paid != agreed:
        said.append(f"registered with {agreed}")
    if received := _sum(link, "received_minor"):
        said.append(f"received {received}")
    return ", ".join(part for part in said if part)


def _order_of(link: Doc) -> str:
    if link["order_from"] == "AWAITED":
        return "not named yet: it counts in none until its lookup or registration names one"
    named = {"SELF": "its own", "REGISTRATION": "as registered", "LOOKUP": "as the provider says"}
    return f"{link['order_id']} ({named.get(link['order_from'], link['order_from'])})"


def _timeline(timeline: Sequence[Moment]) -> RenderableType:
    first = timeline[0].at
    table = Table(box=None, show_header=False, pad_edge=False, padding=0)
    for justify in ("left", "right", "left", "left", "left"):
        table.add_column(no_wrap=True, justify=justify)
    table.add_column(overflow="fold")
    day, rank = first.date(), 0
    for one in timeline:
        if one.at.date() != day:
            day = one.at.date()
            table.add_row(Text(f"{day:%m-%d}", "bold"))
        reached = RANK.get(one.status, 0) if one.status else 0
        raised, rank = reached > rank, max(rank, reached)
        table.add_row(
            f"{one.at:%H:%M:%S}  ",
            "" if one.at == first else f"+{lasted(one.at - first)}",
            Text(" > " if raised else "   ", "bold"),
            text(f"{one.what}  ", one.style),
            text(f"{one.source}  ", "dim" if one.source.endswith("claim") else ""),
            text(one.detail),
        )
    return Group(Text(f"{first:%Y-%m-%d} UTC", "bold"), table)


def _anomalies(found: Iterable[Doc]) -> Table:
    table = grid("anomaly", "detail")
    table.columns[0].no_wrap = True
    for one in found:
        said = one.get("done")
        done = f" (done by {said['by']})" if said else ""
        table.add_row(text(one["kind"], "dim" if said else "bold red"), text(one["detail"] + done))
    return table


def _order(link: Doc, order: Doc) -> RenderableType:
    parts: list[RenderableType] = [
        Text.assemble(
            "order ",
            text(order["order_id"], "bold"),
            ": ",
            text(_state(order), "bold"),
            _took(order),
        )
    ]
    if others := [one for one in order["links"] if one["link_id"] != link["link_id"]]:
        table = grid("its other links", "status", "amount")
        for one in others:
            status = text(one["status"], status_style(one["status"]))
            table.add_row(text(one["link_id"]), status, _sum(one, "amount_minor"))
        parts.append(table)
    if waits := _waits_for(link, order):
        parts.append(text(f"waits for {waits}", "yellow"))
    return Group(*parts)


def _state(order: Doc) -> str:
    told = {settled["kind"] for settled in order["settlements"]}
    if order["state"] == "CLOSE_DECIDED" and told:
        return f"close decided, settlement {'CONFIRMED' if 'CONFIRMED' in told else 'EXPECTED'}"
    state: str = order["state"].replace("_", " ")
    return f"{state} ({order['failure']})" if order["failure"] else state


def _took(order: Doc) -> str:
    took = order["lapse"]
    parts = [
        f"{name} {lasted(timedelta(seconds=took[key]))}"
        for name, key in (
            ("paid to closed", "paid_to_closed_seconds"),
            ("closed to settled", "closed_to_settled_seconds"),
        )
        if took[key] is not None
    ]
    return f"; {', '.join(parts)}" if parts else ""


def _waits_for(link: Doc, order: Doc) -> str:
    """Why the order is not closed; nothing when it is."""
    waits = order.get("waits_for")
    if not waits:
        return ""
    reasons = []
    if missing := waits["unknown_links"]:
        reasons.append(f"{_counted(missing, 'link')} that nobody has told of")
    if going := waits["open_links"]:
        names = ("this one" if one == link["link_id"] else one for one in going)
        reasons.append(f"{_counted(len(going), 'link')} to end: {', '.join(names)}")
    if waits["payment"]:
        reasons.append("a payment")
    return "; ".join(reasons)


def _sum(doc: Doc, name: str) -> str:
    return money(doc.get(name), doc.get("currency"))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _instant(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "at no time that can be shown"
