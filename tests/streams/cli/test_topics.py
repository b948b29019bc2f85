"""`linkstatus topics` and `linkstatus schemas`."""

import re

import pytest

from schemas import codec, compatibility
from tests.support.shell import Shell


@pytest.mark.kafka
def test_topics_are_created_and_checked(bare_linkstatus: Shell) -> None:
    missing = bare_linkstatus.run("topics", "check", "--json")
    assert (missing.code, '"ok":false' in missing.out) == (1, True)
    created = bare_linkstatus.json("topics", "create")
    assert created["existing"] == 0
    assert "0 created" in bare_linkstatus.ok("topics", "create")
    assert "as they should be" in bare_linkstatus.ok("topics", "check")
    checked = bare_linkstatus.json("topics", "check")
    number = len(created["created"])
    assert checked == {"ok": True, "topics": number, "differences": [], "notes": []}
    assert f"linkstatus: {number} differences" in missing.err


@pytest.mark.kafka
def test_i5_check_names_brokers_that_lose_the_offsets_of_workers(linkstatus: Shell) -> None:
    linkstatus.set(REPLICATION="3")
    checked = linkstatus.run("topics", "check")
    assert checked.code == 1
    # The topic's, or before it exists the broker's.
    names = r"__transaction_state: replication|transaction\.state\.log\.replication\.factor"
    assert re.search(rf"({names}) is 1, should be at least 3", checked.out)


def test_acls_name_the_principal_of_each_process(shell: Shell) -> None:
    principals = {row["principal"] for row in shell.rows("topics", "acls")}
    assert principals >= {"User:linkstatus-work", "User:linkstatus-board"}


def test_schemas_check_prints_every_id_and_names_an_incompatible_change(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = {one.fingerprint for one in codec.ALL}
    assert {int(line.split()[0]) for line in shell.ok("schemas", "check").splitlines()} == ids
    checked = shell.json("schemas", "check")
    assert checked["ok"]
    assert {one["id"] for one in checked["schemas"]} == ids
    monkeypatch.setattr(compatibility, "breaks", lambda: ["link_event.avsc, LinkEvent.status: why"])
    ran = shell.run("schemas", "check")
    assert (ran.code, "LinkEvent.status: why" in ran.err) == (1, True)


def test_schemas_release_needs_a_later_number(shell: Shell) -> None:
    ran = shell.run("schemas", "release", "0.0.9")
    assert (ran.code, "0.0.9 does not come after" in ran.err) == (1, True)
