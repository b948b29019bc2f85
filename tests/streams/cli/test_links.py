"""`linkstatus links add`: the records of POST /links, and each rejected line with its reason."""

import json
from pathlib import Path

import pytest

from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from connectors.receive.csv_file import BadFile, Row, read
from schemas.codec import LINK_REGISTERED
from tests.support.codecs import CODECS
from tests.support.reading import read_all
from tests.support.shell import Shell

HEADER = "provider,link_id,order_id,amount,currency,expires_at,links_in_order"
FULL = "peach,L1,O1,12.50,ZAR,2030-01-02T03:04:05+02:00,2"


def rows(tmp_path: Path, *lines: str, header: str = HEADER) -> list[Row]:
    file = tmp_path / "links.csv"
    file.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8", newline="")
    return read(file, PROVIDERS, 7)


def test_row_is_a_registration(tmp_path: Path) -> None:
    full, least = rows(tmp_path, FULL, "ping, L2 ,,,,,")
    assert full.link == {
        "provider": "peach",
        "link_id": "L1",
        "order_id": "O1",
        "amount_minor": 1250,
        "currency": "ZAR",
        "expires_at": 1_893_546_245_000_000,
        "links_in_order": 2,
        "registered_at": 7,
    }
    nothing = dict.fromkeys(full.link.keys() - {"provider", "link_id", "registered_at"})
    assert least.link == {**nothing, "provider": "ping", "link_id": "L2", "registered_at": 7}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("acme,L1,,,,,", "provider: must be one of"),
        ("peach,,,,,,", "link_id: is missing"),
        ("peach,L1,,12.50,,,", "currency: is needed with an amount"),
        ("peach,L1,,12.505,ZAR,,", "amount: "),
        ("peach,L1,,12 ZAR,ZAR,,", "amount: "),
        ("peach,L1,,1,XXQ,,", "currency: "),
        ("peach,L1,,,,tomorrow,", "expires_at: "),
        ("peach,L1,,,,,two", "links_in_order: "),
        ("peach,L1,,,,,0", "links_in_order: "),
        ("peach,L1,,,,,1,more", "row: has more cells"),
    ],
)
def test_wrong_row_names_the_field_and_the_reason(tmp_path: Path, line: str, reason: str) -> None:
    good, bad = rows(tmp_path, FULL, line)
    assert good.link
    assert (bad.line, bad.link) == (3, None)
    assert (bad.reason or "").startswith(reason)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"provider,amount\n", "needs link_id"),
        (b"provider,link_id,colour\n", "no such column: colour"),
        (b"", "needs provider, link_id"),
        (b"provider,link_id\n\xff\xfe,1\n", "not CSV in UTF-8"),
        (b'provider,link_id\n"ping,1\n', "not CSV in UTF-8"),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "links.csv"
    file.write_bytes(content)
    with pytest.raises(BadFile, match=message):
        read(file, PROVIDERS, 7)


def test_file_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    header = "\ufeffprovider,link_id,order_id\r"
    (row,) = rows(tmp_path, 'ping,L1,"Ö, 1"\r', header=header)
    assert row.link
    assert row.link["order_id"] == "Ö, 1"


@pytest.mark.kafka
def test_good_rows_are_registered_and_wrong_ones_named(
    linkstatus: Shell, kafka: Cluster, tmp_path: Path
) -> None:
    file, reason = tmp_path / "links.csv", "currency: is needed with an amount"
    many = [f"ping,M{number},,,,," for number in range(500)]
    file.write_text("\n".join((HEADER, FULL, "peach,L2,,1,,,", *many)) + "\n")
    dry = linkstatus.run("links", "add", str(file), "--dry-run", "--json")
    rejected = [{"line": 3, "reason": reason}]
    assert json.loads(dry.out) == {"good": 501, "registered": 0, "rejected": rejected}
    assert read_all(kafka, "links") == []
    ran = linkstatus.run("links", "add", str(file))
    assert (ran.code, ran.out) == (1, f"line 3: {reason}\n")
    assert "501 registered, 1 rejected" in ran.err
    links = {m.key(): CODECS.decode(LINK_REGISTERED, m.value()) for m in read_all(kafka, "links")}
    assert len(links) == 501
    assert links[b"peach:L1"]["amount_minor"] == 1250
    file.write_text(f"{HEADER}\n{FULL}\n")
    linkstatus.ok("links", "add", str(file))
