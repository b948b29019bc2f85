"""D3: what nothing vouches for leaves table and board; claimed again, it has a new row."""

from typing import Any

import pytest

from connectors.kafka.cluster import Cluster
from schemas.codec import LINK_STATUS
from tests.e2e.system import System
from tests.support.codecs import CODECS
from tests.support.reading import read_all
from tests.support.sandboxing import Providers, metric
from tests.support.waiting import until_sync

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def settings() -> dict[str, str]:
    return {"LINKSTATUS_POLLING__FORGET_SECONDS": "3", "LINKSTATUS_PROVIDERS": "ipint"}


def rows(cluster: Cluster, link_id: str) -> list[Any]:
    """Return all rows of the link, the oldest first; None for a deletion."""
    values = [m.value() for m in read_all(cluster, "link-status") if m.key() == link_id.encode()]
    return [value and CODECS.decode(LINK_STATUS, value) for value in values]


def test_d3_forged_claim_leaves_the_table_and_may_come_again(
    system: System, cluster: Cluster, providers: Providers
) -> None:
    def gone() -> bool:
        return not system.get("/links?provider=ipint")["links"]

    for life in (1, 2):
        providers.call_back("ipint", invoice_id="forged", status="COMPLETED")
        system.wait_for("/links/ipint/forged", lambda row: "CLAIM_DENIED" in row["anomalies"])
        until_sync(gone, "the forged link to leave the board")
        assert system.get("/links/ipint/forged") is None
        table = rows(cluster, "ipint:forged")
        assert table[-1] is None
        assert [row["version"] for row in table if row].count(1) >= life
    assert metric(system, "work", "linkstatus_links_forgotten_total") >= 2
    assert metric(system, "web", "linkstatus_board_unreadable_total") == 0
    providers.create("ipint", "honest")
    providers.move("ipint", "honest", "COMPLETED")
    system.wait_for("/links/ipint/honest", lambda row: row["status"] == "PAID")
