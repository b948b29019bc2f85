"""What to do: for each anomaly, and for whatever else keeps links from their status."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from connectors.board.health import Health
from connectors.board.lately import Lately
from connectors.board.words import many
from schemas.records import AnomalyKind

# Kind -> what it means, and what a person should do about it: the reviewable table.
ANOMALIES: dict[AnomalyKind, tuple[str, str]] = {
    "PAID_AFTER_END": (
        "Money came after the link had ended.",
        "The link counts as paid. See whether its order was sold elsewhere meanwhile; deliver, or "
        "refund at the provider.",
    ),
    "CONFLICTING_END": (
        "The provider told two different endings.",
        "The higher one counts. Compare with the provider's own portal; if it is wrong, tell "
        "their support with both raw bodies.",
    ),
    "UNDERPAID": (
        "Less was received than was asked for.",
        "The link is not paid and its order stays open. Ask the payer for the rest, or refund.",
    ),
    "OVERPAID": (
        "More was received than was asked for.",
        "The link is paid. Refund the difference at the provider.",
    ),
    "SECOND_PAYMENT": (
        "The link was paid twice.",
        "Its order closed once. Refund one of the payments at the provider.",
    ),
    "PAYMENT_REVERSED": (
        "A payment that had counted was taken back.",
        "The status keeps what was seen. Stop delivery, and settle it with the payer.",
    ),
    "CLAIM_DENIED": (
        "An unsigned callback claimed what the provider denies.",
        "Nothing changed. If the payer says they paid, look at the provider's portal. If there are "
        "many, somebody knows your callback URL: give it a token "
        "(LINKSTATUS_{PROVIDER}__PATH_TOKEN) and change the URL at the provider.",
    ),
    "UNKNOWN_STATUS": (
        "The provider used a word that no rule knows.",
        "The callback waits among the dead letters. Add the word to the provider's table of "
        "statuses, then replay it.",
    ),
    "AMOUNT_MISMATCH": (
        "Paid is not what was registered, or cannot be compared with what was asked for.",
        "Compare the registration with the provider's portal before you deliver.",
    ),
    "STALE": (
        "The link is past its expiry and the provider is silent.",
        "Look it up at the provider's portal. If many of one provider are stale, check its "
        "credentials and the process lookup.",
    ),
    "LATE_LINK": (
        "The link was registered after it had been paid.",
        "It stays where its money was counted. Register links before payers get them.",
    ),
    "UNKNOWN": ("A kind this version does not know.", "Update the board."),
}

# What cannot wait until the morning: goods leave for money that went back.
_GRAVE: frozenset[AnomalyKind] = frozenset({"PAYMENT_REVERSED"})
_LAG_WORTH_TELLING = 5000


class Problem(NamedTuple):
    """Something that needs a person. `cure` says what to do, `href` leads there; `last_at` is in
    microseconds, UTC.
    """

    word: str
    what: str
    cure: str
    href: str
    grave: bool = True
    detail: str = ""
    last_at: int | None = None


def problems(
    lately: Lately, processes: Sequence[Health], board_trouble: str | None
) -> list[Problem]:
    """All that is wrong now, the gravest first."""
    found = [
        *_of_board(lately, board_trouble),
        *(problem for one in processes for problem in _of_process(one)),
        *_of_orders(lately),
        *_of_letters(lately),
        *_of_anomalies(lately),
    ]
    return sorted(found, key=lambda problem: not problem.grave)


def _of_board(lately: Lately, trouble: str | None) -> list[Problem]:
    found = []
    if trouble:
        what = "This page is behind"
        cure = "See that Kafka runs and LINKSTATUS_BROKERS is right: `linkstatus doctor` tells."
        found.append(Problem("STOPPED", what, cure, "/processes", detail=trouble))
    if unread := lately.unreadable:
        what = f"{many(unread.number, 'record')} on our own topics could not be read within a day"
        cure = "Somebody else writes to them, or a version differs. The board's log names each."
        where = "/processes"
        found.append(Problem("UNREADABLE", what, cure, where, False, unread.word, unread.last_at))
    return found


def _of_process(one: Health) -> list[Problem]:
    if one.state == "silent":
        cure = f"Start `linkstatus {one.name}` again, and read the end of its log."
        return [Problem("DOWN", f"{one.name} does not answer", cure, "/processes", detail=one.why)]
    found = []
    if one.state == "not ready":
        cure = "It says why; `linkstatus doctor` names the setting to change."
        what = f"{one.name} is not ready"
        found.append(Problem("NOT READY", what, cure, "/processes", detail=one.why))
    for provider in one.held_back:
        what = f"{provider} does not answer our questions"
        cure = (
            "Unsigned callbacks of it stay claims until it does. See the provider's status page, "
            f"and its credentials (LINKSTATUS_{provider.upper()}__…)."
        )
        found.append(Problem("HELD BACK", what, cure, "/processes"))
    if one.lag > _LAG_WORTH_TELLING:
        what = f"{one.lag:,} records wait for {one.name}"
        cure = "If they grow, start one more of it, up to the number of partitions."
        found.append(Problem("BEHIND", what, cure, "/processes", grave=False))
    return found


def _of_orders(lately: Lately) -> list[Problem]:
    if not lately.orders_failed:
        return []
    what = f"{many(lately.orders_failed, 'order')} could not be closed or settled"
    cure = "Read the provider's words, put it right at its portal, then report on order-updates."
    return [Problem("REFUSED", what, cure, "/orders?state=FAILED")]


def _of_letters(lately: Lately) -> list[Problem]:
    if not lately.letters:
        return []
    words = [f"{group.word} ({group.number:,})" for group in lately.letters]
    return [
        Problem(
            "NOT READ",
            f"{many(lately.letters_open, 'dead letter')} not replayed",
            "Mend what the reason names, then replay. Set aside what is junk.",
            "/dead-letters?show=open",
            detail=" · ".join(words),
            last_at=max(group.last_at for group in lately.letters),
        )
    ]


def _of_anomalies(lately: Lately) -> list[Problem]:
    found = []
    for kind, count, last_at in lately.anomalies:
        means, cure = ANOMALIES.get(kind, ANOMALIES["UNKNOWN"])  # type: ignore[call-overload]
        href = f"/anomalies?{urlencode({'kind': kind})}"
        what = means if count == 1 else f"{count:,}× {means}"
        word = kind.replace("_", " ")
        found.append(Problem(word, what, cure, href, grave=kind in _GRAVE, last_at=last_at))
    return found
