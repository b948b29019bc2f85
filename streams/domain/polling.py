"""The passage of time: when a link that stays silent is looked up again, and when it is stale."""

from dataclasses import dataclass
from zlib import crc32

from schemas.records import ENDED, LinkStatus
from streams.domain.rules import ProviderRules, utc

SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Intervals:
    """In microseconds: the first wait, the longest wait, and how long past its expiry a link is
    stale.
    """

    first: int = 60 * SECOND
    longest: int = 86_400 * SECOND
    stale_after: int = 3_600 * SECOND


def due_at(row: LinkStatus, rules: ProviderRules, intervals: Intervals) -> int | None:
    """When to ask the provider about this link next, or None when never.

    The wait grows with the time the link has been silent: half of it, within the intervals, and up
    to a quarter more, so that links of one moment do not stay together. It is computed from the row
    alone, so that it survives a restart and a move to another worker.
    """
    if not _worth_asking(row, rules):
        return None
    asked = row["looked_up_at"] or row["first_seen_at"]
    heard = _heard_at(row, intervals)
    wait = min(max((asked - heard) // 2, intervals.first), intervals.longest * 4 // 5)
    due = max(asked, heard) + wait + wait // 4 * _share(row["link_id"]) // 256
    expires_at = _expires_at(row)
    if expires_at is not None and asked < expires_at + intervals.first < due:
        return expires_at + intervals.first
    return due


def _heard_at(row: LinkStatus, intervals: Intervals) -> int:
    """When there was last news of the link. A denied claim is some, too: it may have come before
    the provider's API knew. What is said to lie ahead is none: it would be asked about for ever.
    """
    told = (*row["times"].values(), *row["claims"].values())
    latest = row["changed_at"] + intervals.first
    return max([row["first_seen_at"], *(at for at in told if at <= latest)])


def _share(link_id: str) -> int:
    """The link's own place in a spread of 256."""
    return crc32(link_id.encode()) % 256


def _worth_asking(row: LinkStatus, rules: ProviderRules) -> bool:
    if is_over(row) or not rules.can_look_up:
        return False
    return _claim_waits(row) or (is_ours(row) and rules.polls)


def is_over(row: LinkStatus) -> bool:
    """Whether the provider has no more to say."""
    return row["status"] in ENDED or is_completed(row)


def is_settled_for_good(row: LinkStatus, rules: ProviderRules) -> bool:
    """Whether the provider is not to be asked about the link again, whatever is claimed (iPint)."""
    return is_completed(row) or (rules.ends_for_good and row["status"] in ENDED)


def is_completed(row: LinkStatus) -> bool:
    """Whether the provider has completed the link, if not with enough money."""
    return row["coverage"] in ("UNDERPAID", "UNKNOWN")


def _claim_waits(row: LinkStatus) -> bool:
    """Whether a claim still wants an answer. One of no ending is asked about until anything is
    answered: else an invented id that the provider does not know would be asked about for ever.
    """
    claim = row["claimed_status"]
    if claim is None or "CLAIM_DENIED" in row["anomalies"]:
        return False
    return claim in ENDED or row["looked_up_at"] is None


def is_ours(row: LinkStatus) -> bool:
    """Whether the provider or the merchant has vouched for the link: others anybody may invent."""
    return row["verified"] or row["registration"] is not None


def _expires_at(row: LinkStatus) -> int | None:
    return row["registration"]["expires_at"] if row["registration"] else None


def stale_at(row: LinkStatus, intervals: Intervals) -> int | None:
    """When the link becomes stale, or None when it never will or when that was told already."""
    expires_at = _expires_at(row)
    if expires_at is None or is_over(row) or "STALE" in row["anomalies"]:
        return None
    return expires_at + intervals.stale_after


def mark_stale(row: LinkStatus, now: int) -> LinkStatus:
    """The row with the anomaly STALE."""
    return {
        **row,
        "anomalies": sorted({*row["anomalies"], "STALE"}),
        "version": row["version"] + 1,
        "changed_at": max(row["changed_at"], now),
    }


def stale_evidence(row: LinkStatus) -> str:
    """Why the link is stale, in words."""
    asked_at = row["looked_up_at"]
    answered = "no question was answered" if asked_at is None else f"last asked {utc(asked_at)}"
    return f"expired at {utc(_expires_at(row) or 0)} and still {row['status']}; {answered}"
