"""The seed and the faults that find each mutation."""

from collections.abc import Mapping

from tests.simulation.faults import Fault

FOUND_BY: Mapping[str, tuple[int, tuple[Fault, ...]]] = {
    "go-on-after-a-failed-batch": (109, (Fault(2.172, "registry", "w0", "", 2.0),)),
    "write-rows-outside-the-transaction": (1, ()),
    "do-not-wait-for-pending-offsets": (8, (Fault(14.907, "end", "w0", "", 0.2),)),
    "restore-to-the-last-stable-offset": (
        805,
        (Fault(1.592, "late marker", "topics", "", 45.0, worker="w0"),),
    ),
    "use-the-rows-before-an-open-transaction": (
        805,
        (
            Fault(1.592, "late marker", "topics", "", 45.0, worker="w0"),
            Fault(1.592, "kill after", "w0", "EndTxn", 4.0),
        ),
    ),
    "send-offsets-without-the-generation": (
        17,
        (Fault(15.222, "stop at", "w1", "TxnOffsetCommit", 12.0, "OffsetFetch"),),
    ),
    "keep-records-of-a-revoked-partition": (
        667,
        (
            Fault(17.206, "slow", "w0", "", 8.0),
            Fault(17.206, "slow", "w1", "", 8.0),
            Fault(20.776, "end", "w1", "", 9.0),
            Fault(21.919, "join", "w2", "", 4.0),
        ),
    ),
    "restore-before-the-offsets": (
        41,
        (Fault(5.352, "stop at", "w1", "Produce link-status", 12.0, "OffsetFetch"),),
    ),
    "send-several-requests-at-once": (
        826,
        (
            Fault(0.02, "kill", "w0", "", 4.0),
            Fault(0.02, "kill", "w1", "", 4.0),
            Fault(4.145, "no leader", "", "", 3.0),
            Fault(6.109, "end", "edge", "", 1.0),
        ),
    ),
    "keep-tables-whose-offsets-moved": (
        144,
        (Fault(5.657, "stop at", "w1", "JoinGroup", 7.0), Fault(9.513, "registry", "w0", "", 2.0)),
    ),
    "new-transactional-id-for-each-session": (
        167,
        (Fault(18.209, "kill at", "w0", "EndTxn", 4.0),),
    ),
    "send-again-with-another-transactional-id": (
        689,
        (Fault(2.653, "stop at", "w0", "AddOffsetsToTxn", 3.0),),
    ),
    "wait-for-ever-for-pending-offsets": (
        6,
        (
            Fault(1.728, "lose request", "w1", "TxnOffsetCommit", 0.0),
            Fault(2.096, "end", "w0", "", 1.0),
            Fault(3.071, "late marker", "group", "", 200.0),
        ),
    ),
    "stay-joined-after-the-end": (19, (Fault(11.171, "stop", "w0", "", 7.0),)),
    "do-not-schedule-the-first-rows": (6, (Fault(2.096, "end", "w0", "", 1.0),)),
    "do-not-count-a-dead-letter": (1, ()),
    "wait-for-the-thread-at-the-end": (
        63,
        (
            Fault(4.295, "kill", "w0", "", 0.2),
            Fault(12.16, "broker", "", "", 20.0),
            Fault(20.458, "end", "w0", "", 0.2),
        ),
    ),
    "do-not-cut-a-dead-letter": (20, ()),
    "rebalance-in-the-middle-of-a-batch": (1, ()),
    "acknowledge-before-the-record-is-durable": (
        1,
        (Fault(6.0, "kill at", "edge", "Produce callbacks.ping", 1.0),),
    ),
    "commit-a-lookup-before-its-answer": (
        1,
        (Fault(3.0, "provider down", "ping", "", 20.0), Fault(10.0, "kill", "lookup", "", 1.0)),
    ),
    "commit-a-settlement-before-it-is-reported": (
        1,
        (Fault(3.0, "kill at", "settle", "Call ping", 1.0),),
    ),
    "take-a-page-for-a-success": (4, (Fault(5.0, "provider broken", "ping", "", 20.0),)),
}
