"""Problems that need a person, and what to do about each: anomalies and all else that keeps links
from their status.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from pydantic import Field

from connectors.board.database.cases import Case
from connectors.board.database.summary import Summary
from connectors.board.database.waiting import Party
from connectors.board.http.text import plural
from connectors.board.overview.process_health import ProcessHealth
from connectors.board.overview.refused_callbacks import RefusedCallbacks, explained
from connectors.serialize import Time, rfc3339
from schemas.records import AnomalyKind

# Kind -> what it means, and what a person should do about it: the reviewable table.
ANOMALIES: dict[AnomalyKind, tuple[str, str]] = {
    "PAID_AFTER_END": (
        "Money came after the link had ended.",
        "The link counts as paid. Check whether its order was sold elsewhere in the meantime; "
        "deliver, or refund at the provider.",
    ),
    "CONFLICTING_END": (
        "The provider reported two different endings.",
        "The higher one counts. Compare with the provider's portal; if it is wrong, send both raw "
        "bodies to their support.",
    ),
    "UNDERPAID": (
        "The payer paid less than requested.",
        "The link is not paid and its order stays open. Ask the payer for the rest, or refund.",
    ),
    "OVERPAID": (
        "The payer paid more than requested.",
        "The link is paid. Refund the difference at the provider.",
    ),
    "SECOND_PAYMENT": (
        "The link was paid twice.",
        "Its order closed once. Refund one of the payments at the provider.",
    ),
    "PAYMENT_REVERSED": (
        "A payment that the link counted was reversed.",
        "The status stays. Stop the delivery, and settle it with the payer.",
    ),
    "CLAIM_DENIED": (
        "A callback claimed a status that the provider denies.",
        "Nothing changed. If the payer says that they paid, check the provider's portal. If there "
        "are many, a stranger knows your callback URL: give it a token "
        "(LINKSTATUS_{PROVIDER}__PATH_TOKEN) and change the URL at the provider.",
    ),
    "UNKNOWN_STATUS": (
        "The provider sent a status that no rule knows.",
        "The callback is among the dead letters. Add the status to the provider's table of "
        "statuses, then replay it.",
    ),
    "AMOUNT_MISMATCH": (
        "The paid amount differs from the registered one, or cannot be compared with the requested "
        "one.",
        "Compare the registration with the provider's portal before you deliver.",
    ),
    "STALE": (
        "The link is open past its expiry and the provider reports nothing.",
        "Check it at the provider's portal. If many links of one provider are stale, check its "
        "credentials and the process lookup.",
    ),
    "LATE_LINK": (
        "The registration came after the payment, or the link after the close of its order.",
        "Its payment stays where it was counted. Register links before payers get them.",
    ),
    "REFUND_FAILED": (
        "A refund did not reach the payer.",
        "Their money is with us. Read the reason, correct it at the provider, and refund again.",
    ),
    "REFUND_EXCEEDS_PAYMENT": (
        "More money went back than was paid.",
        "Compare the refunds with the provider's portal, and ask the payer for the difference.",
    ),
    "DISPUTED": (
        "The payer disputes a payment, or their bank charges it back.",
        "Stop the delivery, and answer the dispute at the provider before it expires: then the "
        "payer gets the money back.",
    ),
    "AMOUNT_UNKNOWN": (
        "The order closed before its amount was known.",
        "Look the payment up at the provider's portal before you book it. A correction follows by "
        "itself if the provider tells the amount later. If there are many, check the provider's "
        "credentials and the process lookup, or register links with their amounts.",
    ),
    "UNKNOWN": ("This version does not know the kind.", "Update the board."),
}

# Party -> what to do about orders that have waited for it too long.
_WAITING: dict[Party, tuple[str, str]] = {
    "person": (
        "a person",
        "The list says what each waits for. Read its anomaly, deal with it, and resolve it.",
    ),
    "provider": (
        "the provider",
        "Check the provider's status page, its credentials and the process lookup; "
        "`linkstatus links lookup` asks again.",
    ),
    "service": (
        "our own services",
        "The list says what each waits for: register the missing links, or check the service that "
        "reports on order-updates (`settle`), and the worker.",
    ),
}
# What cannot wait until the morning: goods leave although the money went back.
_URGENT: frozenset[AnomalyKind] = frozenset({"PAYMENT_REVERSED", "DISPUTED"})
_LAG_LIMIT = 5000


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem that needs a person."""

    kind: str
    title: str
    advice: Annotated[str, Field(description="What to do about it.")]
    href: Annotated[str, Field(description="The page that leads there.")]
    urgent: Annotated[bool, Field(description="Whether it cannot wait until the morning.")] = True
    detail: str = ""
    last_at: Time = None
    cases: Annotated[Sequence[Case], Field(description="The latest of them.")] = ()


def problems(
    summary: Summary, processes: Sequence[ProcessHealth], board_behind: str | None
) -> list[Problem]:
    """Return all problems, the urgent ones first."""
    all_problems = [
        *_of_board(summary, board_behind),
        *(problem for process in processes for problem in _of_process(process)),
        *_of_callbacks(summary),
        *_of_orders(summary),
        *_of_waiting_orders(summary),
        *_of_dead_letters(summary),
        *_of_anomalies(summary),
        *_of_payouts(summary),
        *_of_topics(summary),
    ]
    return sorted(all_problems, key=lambda problem: not problem.urgent)


def _of_board(summary: Summary, behind: str | None) -> Iterator[Problem]:
    if behind:
        advice = "Check that Kafka runs and that LINKSTATUS_BROKERS is right: `linkstatus doctor`."
        yield Problem("BEHIND", "This page is behind", advice, "/processes", detail=behind)
    if records := summary.unreadable:
        count = plural(records.number, "record")
        yield Problem(
            "UNREADABLE",
            f"The board could not read {count} of its topics within a day",
            "Another program writes to them, or a version differs. The board's log names each.",
            "/processes",
            urgent=False,
            detail=records.name,
            last_at=records.last_at,
        )


def _of_process(process: ProcessHealth) -> Iterator[Problem]:
    name, reason, href = process.name, process.reason, "/processes"
    if process.state == "unreachable":
        advice = f"Start `linkstatus {name}` again, and read the end of its log."
        yield Problem("DOWN", f"{name} does not answer", advice, href, detail=reason)
    if process.state == "not_ready":
        advice = "It says why; `linkstatus doctor` names the setting to change."
        yield Problem("NOT_READY", f"{name} is not ready", advice, href, detail=reason)
    for provider in process.providers_down:
        advice = (
            "Until it does, its unsigned callbacks stay claims. Check the provider's status page, "
            f"and its credentials (LINKSTATUS_{provider.upper()}__…)."
        )
        title = f"{provider} does not answer our lookups"
        yield Problem("PROVIDER_DOWN", title, advice, href)
    for endpoint in process.endpoints_down:
        advice = (
            "Its events wait, in their order, and are tried again. Check the service behind its "
            f"URL (LINKSTATUS_NOTIFY__ENDPOINTS, {endpoint}), and the log of `linkstatus notify`."
        )
        title = f"The webhook endpoint {endpoint} takes no events"
        waiting = f"up to {plural(process.lag.get(endpoint, 0), 'event')} wait"
        yield Problem("ENDPOINT_DOWN", title, advice, href, detail=waiting)
    if process.total_lag > _LAG_LIMIT:
        title = f"{process.total_lag:,} records wait for {name}"
        advice = "If the number grows, start one more process, up to the number of partitions."
        yield Problem("LAG", title, advice, href, urgent=False)


def _of_callbacks(summary: Summary) -> Iterator[Problem]:
    lately = [refused for refused in explained(summary.refused) if refused.number_within_day]
    strangers = [refused for refused in lately if refused.is_of_a_stranger]
    if len(strangers) > 1:
        # A scanner gets an answer of each kind.
        yield _of_strangers(strangers)
        lately = [refused for refused in lately if not refused.is_of_a_stranger]
    for refused in lately:
        yield Problem(
            "CALLBACKS_REFUSED",
            f"{plural(refused.number_within_day, 'callback')} of {refused.sender} got the answer "
            f"{refused.answer} within a day: {refused.meaning}",
            refused.advice,
            "/#refused-callbacks",
            urgent=refused.urgent,
            detail=refused.detail,
            last_at=refused.last_at,
        )


def _of_strangers(refused: Sequence[RefusedCallbacks]) -> Problem:
    number = sum(one.number_within_day for one in refused)
    return Problem(
        "CALLBACKS_REFUSED",
        f"{plural(number, 'request')} of no known provider were refused within a day, for "
        f"{len(refused)} reasons",
        "The list below says what each means. Look for the address of a provider among them; the "
        "others are strangers.",
        "/#refused-callbacks",
        urgent=False,
        last_at=max(one.last_at or 0 for one in refused),
    )


def _of_orders(summary: Summary) -> Iterator[Problem]:
    if summary.orders_failed:
        title = f"{plural(summary.orders_failed, 'order')} could not be closed or settled"
        advice = "Read the provider's answer, correct it there, then report on order-updates."
        cases = summary.cases.get("ORDER_FAILED", ())
        yield Problem("ORDER_FAILED", title, advice, "/orders?state=FAILED", cases=cases)


def _of_waiting_orders(summary: Summary) -> Iterator[Problem]:
    for provider, waits_for, number, since, failed in summary.overdue:
        if failed:  # a problem of their own
            continue
        who, advice = _WAITING[waits_for]
        verb = "waits" if number == 1 else "wait"
        yield Problem(
            "ORDERS_WAIT",
            f"{plural(number, 'order')} of {provider} {verb} too long for {who}",
            advice,
            f"/orders?{urlencode({'waits_for': waits_for, 'provider': provider})}",
            urgent=False,
            detail=f"the first since {(rfc3339(since) or '')[:16].replace('T', ' ')} UTC",
            cases=summary.cases.get(f"ORDERS_WAIT {provider} {waits_for}", ()),
        )


def _of_dead_letters(summary: Summary) -> Iterator[Problem]:
    if groups := summary.dead_letters:
        yield Problem(
            "DEAD_LETTERS",
            plural(summary.dead_letters_open, "open dead letter"),
            "Correct what the reason names, then replay. Resolve what is junk.",
            "/dead-letters?show=open",
            last_at=max(group.last_at for group in groups),
            cases=summary.cases.get("DEAD_LETTERS", ()),
        )


def _of_anomalies(summary: Summary) -> Iterator[Problem]:
    for kind, number, last_at in summary.anomalies:
        meaning, advice = ANOMALIES.get(kind, ANOMALIES["UNKNOWN"])  # type: ignore[call-overload]
        title = meaning if number == 1 else f"{number:,}× {meaning}"
        href = f"/anomalies?{urlencode({'kind': kind})}"
        cases = summary.cases.get(kind, ())
        urgent = kind in _URGENT
        yield Problem(kind, title, advice, href, urgent=urgent, last_at=last_at, cases=cases)


def _of_topics(summary: Summary) -> Iterator[Problem]:
    verified = summary.verified
    if verified and verified["status"] != "agrees":
        attributes = verified["attributes"]
        number = int(attributes.get("differences", "0"))
        yield Problem(
            "TOPICS_DIFFER",
            f"`linkstatus verify` found {plural(number, 'difference')} on the topics",
            "Look each named record up with `linkstatus tail`, then verify again.",
            "/notices?provider=linkstatus",
            detail=attributes.get("named", ""),
            last_at=verified["received_at"],
        )


def _of_payouts(summary: Summary) -> Iterator[Problem]:
    for provider, days, last_at in summary.differing:
        yield Problem(
            "PAYOUTS_DIFFER",
            f"Payouts of {provider} differ from what was closed on {plural(days, 'day')}",
            "Compare the named orders with the provider's portal, then reconcile the day again.",
            f"/reconciliations?{urlencode({'provider': provider})}",
            urgent=False,
            last_at=last_at,
            cases=summary.cases.get(f"PAYOUTS_DIFFER {provider}", ()),
        )
