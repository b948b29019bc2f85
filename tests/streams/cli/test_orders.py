"""`linkstatus orders`: the orders, and why they are not closed."""

from connectors.board.database.store import Store
from schemas import topics
from tests.connectors.board.samples import AT, Make, save
from tests.support.shell import Shell

CLAIM = "waits for ping's API, silent since 2023-11-14 22:13 UTC: link l1"


def test_waiting_orders_are_listed_the_oldest_first_with_their_reason(
    shell: Shell, store: Store, make: Make
) -> None:
    open_link = make.order_link("l1", status="OPENED")
    orders = [
        make.order("o1", links=[open_link], changed_at=AT + 1),
        make.order("o2", links_in_order=2, changed_at=AT + 2),
        make.order("o3", state="SETTLED", decided_at=AT, settlements={"CONFIRMED": AT}),
        make.order("o4", links=[make.order_link("l4", status="OPENED")], changed_at=AT + 4),
    ]
    claimed = make.status("l1", order_id="o1", claimed_status="PAID", claimed_at=AT)
    save(
        store,
        [*make.statuses(claimed), *(make.message(topics.ORDERS, order) for order in orders)],
    )
    rows = shell.rows("orders", "--waiting")
    reasons = [(row["order_id"], row["waiting"]["reason"]) for row in rows]
    assert reasons == [("o1", CLAIM), ("o2", "waits for 2 more links to be registered")]
    assert [row["order_id"] for row in shell.rows("orders", "--for", "service")] == ["o2"]
    out = shell.ok("orders")
    assert CLAIM in " ".join(out.split())
    assert [line.split()[2] for line in out.splitlines() if " ping " in line] == [
        *("o4", "o2", "o1", "o3")
    ]
    assert "waits for the payer of link l4" in out
    assert max(map(len, out.splitlines())) <= 80
    assert shell.rows("orders", "--state", "SETTLED", "--waiting") == []
    assert CLAIM in " ".join(shell.ok("status", "ping", "l1").split())
