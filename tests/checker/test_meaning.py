"""The table of what raw records mean agrees with the golden files of all providers."""

from typing import Any

import pytest

from tests.checker.meaning import Meaning, meaning
from tests.connectors.providers.golden import ALL, Case

# Those that the table does not know, because it decides the plain status only.
_NOT_JUDGED = ("refund", "payout", "disputed", "reversed", "unknown")


def events(case: Case) -> list[dict[str, Any]]:
    """Return the events in the record, those that wait for the link of a payment, too."""
    facts = [fact for expected in case.expected for fact in expected.items()]
    payments = [fact["event"] for kind, fact in facts if kind == "payment" and "event" in fact]
    return [fact for kind, fact in facts if kind == "event"] + payments


def judged(case: Case) -> Meaning:
    headers, asked_for = dict(case.content["request"]["headers"]), case.content["record"]
    if "link_id" in asked_for:
        headers["lookup-link"] = asked_for["link_id"]
    if "refund" in asked_for:
        headers["lookup-refund"] = "[]"
    return meaning(case.provider, headers, case.content["request"]["body"].encode())


@pytest.mark.parametrize("case", ALL, ids=str)
def test_events_of_golden_records_are_what_the_table_says(case: Case) -> None:
    link_id, statuses, joins = judged(case)
    for event in events(case):
        assert statuses is None or event["status"] in statuses
        assert link_id in (None, event["link_id"])
        assert not joins or event["link_id"] == ""


def test_table_judges_most_golden_records() -> None:
    unknown = {str(case) for case in ALL if events(case) and judged(case).statuses is None}
    assert {name for name in unknown if not any(word in name for word in _NOT_JUDGED)} == set()


def test_compressed_record_is_not_judged() -> None:
    headers = {"content-encoding": "gzip"}
    assert meaning("ping", headers, b"\x1f\x8b") == Meaning(None, None)
