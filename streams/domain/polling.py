"""The passage of time: when a silent link is looked up again, when it is stale, and when one that
nothing vouches for is forgotten.
"""

from dataclasses import dataclass
from zlib import crc32

from schemas.records import ENDED, LinkStatus
from streams.domain.link_status import has_ended, is_issued
from streams.domain.rules import ProviderRules, utc_text

SECOND = 1_000_000
# The shortest time from a lookup's answer to a lookup for a repeated claim.
ASK_AGAIN_AFTER = 60 * SECOND
# The lookup for a first claim of its status starts at once; its answer comes within this time.
_ANSWER_WITHIN = 10 * SECOND


@dataclass(frozen=True, slots=True)
class Intervals:
    """Microseconds: the shortest and the longest wait between lookups, from expiry to stale, from
    the last news of a link that nothing vouches for to its end, and of a close for its amounts.
    """

    first: int = 60 * SECOND
    longest: int = 86_400 * SECOND
    stale_after: int = 3_600 * SECOND
    forget_after: int = 7 * 86_400 * SECOND
    details: int = 60 * SECOND

    @property
    def late(self) -> int:
        """How late the worker may handle a record, and still judge it by the row of its time: for
        so long a forgotten row stays in the table.
        """
        return self.forget_after // 24


def next_lookup_at(row: LinkStatus, rules: ProviderRules, intervals: Intervals) -> int | None:
    """Return when to look the link up again (microseconds), or None for never.

    The wait is half of the time that the link has been silent, within the intervals. Up to a
    quarter more spreads links that were created together. All comes from the row alone, so it
    survives a restart and a move to another worker.
    """
    if has_ended(row) or not rules.can_look_up:
        return None
    again = _ask_again_at(row)
    if not _needs_polling(row, rules):
        return again
    looked_up_at = row["looked_up_at"] or row["first_seen_at"]
    news_at = _last_news_at(row, intervals)
    wait = min(max((looked_up_at - news_at) // 2, intervals.first), intervals.longest * 4 // 5)
    due = max(looked_up_at, news_at) + wait + wait // 4 * _spread(row["link_id"]) // 256
    expires_at = _expires_at(row)
    if expires_at is not None and looked_up_at < expires_at + intervals.first < due:
        due = expires_at + intervals.first
    return due if again is None else min(due, again)


def _ask_again_at(row: LinkStatus) -> int | None:
    """Return when to look up a claim of an ending that arrived after the last lookup's answer."""
    claimed_at, looked_up_at = row["claimed_at"], row["looked_up_at"]
    if claimed_at is None or looked_up_at is None or claimed_at <= looked_up_at:
        return None
    if row["claimed_status"] is None:
        return None
    return max(looked_up_at + ASK_AGAIN_AFTER, claimed_at + _ANSWER_WITHIN)


def _last_news_at(row: LinkStatus, intervals: Intervals) -> int:
    """Return the time of the last news of the link.

    A denied claim counts too: the provider may have sent it before its API knew. A time in the
    future does not count: the link would be looked up at the shortest interval without end.
    """
    times = (*row["times"].values(), *row["claims"].values())
    latest = row["changed_at"] + intervals.first
    return max([row["first_seen_at"], *(at for at in times if at <= latest)])


def _spread(link_id: str) -> int:
    """Return a number from 0 to 255 that is fixed for the link."""
    return crc32(link_id.encode()) % 256


def _needs_polling(row: LinkStatus, rules: ProviderRules) -> bool:
    return _has_open_claim(row) or (is_issued(row) and rules.polling)


def _has_open_claim(row: LinkStatus) -> bool:
    """Whether a claim still needs an answer.

    For a claim of no ending the first answer of any kind is enough. Otherwise an invented id that
    the provider does not know would be looked up without end.
    """
    claim = row["claimed_status"]
    if claim is None or "CLAIM_DENIED" in row["anomalies"]:
        return False
    return claim in ENDED or row["looked_up_at"] is None


def _expires_at(row: LinkStatus) -> int | None:
    return row["registration"]["expires_at"] if row["registration"] else None


def forget_at(row: LinkStatus, intervals: Intervals) -> int | None:
    """Return when the row is forgotten (microseconds): a later event starts a new one. None while
    the provider or a registration vouches for the link.
    """
    return None if is_issued(row) else row["changed_at"] + intervals.forget_after


def unless_forgotten(row: LinkStatus | None, at: int, intervals: Intervals) -> LinkStatus | None:
    """Return the row that an event of the time `at` adds to, or None if it starts a new one."""
    until = row and forget_at(row, intervals)
    return row if until is None or at < until else None


def stale_at(row: LinkStatus, intervals: Intervals) -> int | None:
    """Return when the link becomes stale, or None if it never will or already has."""
    expires_at = _expires_at(row)
    if expires_at is None or has_ended(row) or "STALE" in row["anomalies"]:
        return None
    return expires_at + intervals.stale_after


def mark_stale(row: LinkStatus, now: int) -> LinkStatus:
    """Return the row with the anomaly STALE."""
    return {
        **row,
        "anomalies": sorted({*row["anomalies"], "STALE"}),
        "version": row["version"] + 1,
        "changed_at": max(row["changed_at"], now),
    }


def stale_evidence(row: LinkStatus) -> str:
    """Explain why the link is stale."""
    looked_up_at = row["looked_up_at"]
    lookup = "no lookup was answered"
    if looked_up_at is not None:
        lookup = f"last lookup answered {utc_text(looked_up_at)}"
    status = row["status"] if row["reason"] is None else f"{row['status']} ({row['reason']})"
    return f"expired at {utc_text(_expires_at(row) or 0)} and still {status}; {lookup}"
