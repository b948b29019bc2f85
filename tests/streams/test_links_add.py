"""`linkstatus links add`: the same record as POST /links makes, and rejects named by line."""

import asyncio
import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from starlette.requests import Request
from typer.testing import CliRunner, Result

from connectors.edge.access import Access
from connectors.edge.links import LinksEndpoint
from connectors.kafka import Cluster
from connectors.registry import PROVIDERS
from schemas.codec import LINK_REGISTERED
from schemas.records import LinkRegistered
from streams import cli
from streams.registrations import BadFile, Row, read
from tests.connectors.outside import Shelf
from tests.reading import read_all

HEADER = "provider,link_id,order_id,amount,currency,expires_at,links_in_order"
FULL = "peach,L1,O1,12.50,ZAR,2030-01-02T03:04:05+02:00,2"


def rows(tmp_path: Path, *lines: str, header: str = HEADER) -> list[Row]:
    file = tmp_path / "links.csv"
    file.write_text("\n".join((header, *lines)) + "\n")
    return read(file, PROVIDERS, 7)


def posted(body: bytes) -> LinkRegistered:
    """What POST /links puts on the topic."""
    shelf = Shelf()

    async def post() -> int:
        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        scope = {"type": "http", "method": "POST", "headers": [], "client": ("127.0.0.1", 1)}
        endpoint = LinksEndpoint(PROVIDERS, shelf, Access(SecretStr("t"), local=True))
        return (await endpoint.post(Request(scope, receive))).status_code

    assert asyncio.run(post()) == 202
    return LINK_REGISTERED.decode(shelf.of("links")[0].value)


def test_a_row_makes_the_record_that_post_links_makes(tmp_path: Path) -> None:
    body = (
        b'{"provider":"peach","link_id":"L1","order_id":"O1","amount":"12.50","currency":"ZAR",'
        b'"expires_at":"2030-01-02T03:04:05+02:00","links_in_order":2}'
    )
    (row,) = rows(tmp_path, FULL)
    assert row.link == posted(body) | {"registered_at": 7}
    (least,) = rows(tmp_path, "ping, L2 ,,,,,")
    assert least.link == posted(b'{"provider":"ping","link_id":"L2"}') | {"registered_at": 7}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("acme,L1,,,,,", "provider: must be one of"),
        ("peach,,,,,,", "link_id: Field required"),
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
def test_a_wrong_row_says_which_field_and_why(tmp_path: Path, line: str, reason: str) -> None:
    good, bad = rows(tmp_path, FULL, line)
    assert good.link
    assert (bad.line, bad.link) == (3, None)
    assert (bad.reason or "").startswith(reason)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"provider,amount\n", "needs link_id"),
        (b"provider,link_id,colour\n", "no such column: colour"),
        (b"", "needs provider, link_id"),
        (b"provider,link_id\n\xff\xfe,1\n", "no CSV in UTF-8"),
        (b'provider,link_id\n"ping,1\n', "no CSV in UTF-8"),
    ],
)
def test_a_file_that_is_no_such_table_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "links.csv"
    file.write_bytes(content)
    with pytest.raises(BadFile, match=why):
        read(file, PROVIDERS, 7)


def test_what_a_spreadsheet_writes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "links.csv"
    file.write_bytes('\ufeffprovider,link_id,order_id\r\nping,L1,"Ö, 1"\r\n'.encode())
    (row,) = read(file, PROVIDERS, 7)
    assert row.link
    assert row.link["order_id"] == "Ö, 1"


def run(cluster: Cluster, tmp_path: Path, *arguments: str) -> Result:
    environment = {
        "LINKSTATUS_BROKERS": cluster.brokers,
        "LINKSTATUS_TOPIC_PREFIX": cluster.prefix,
        "LINKSTATUS_DATA_DIR": str(tmp_path),
    }
    return CliRunner().invoke(cli.app, ["links", "add", *arguments], env=environment)


@pytest.mark.kafka
def test_good_rows_are_registered_and_rejects_named_by_line(kafka: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "links.csv"
    many = [f"ping,M{number},,,,," for number in range(500)]
    file.write_text("\n".join((HEADER, FULL, "peach,L2,,1,,,", *many)) + "\n")
    tried = run(kafka, tmp_path, str(file), "--dry-run")
    assert "line 3: currency: is needed with an amount" in tried.output
    assert read_all(kafka, "links") == []
    told = json.loads(run(kafka, tmp_path, str(file), "--dry-run", "--json").stdout)
    assert (told["good"], told["registered"]) == (501, 0)
    assert told["rejected"] == [{"line": 3, "reason": "currency: is needed with an amount"}]
    done = run(kafka, tmp_path, str(file))
    assert done.exit_code == 1
    assert "line 3: currency: is needed with an amount" in done.stdout
    assert "501 registered, 1 rejected" in done.output
    links = {m.key(): LINK_REGISTERED.decode(m.value()) for m in read_all(kafka, "links")}
    assert len(links) == 501
    assert links[b"peach:L1"]["amount_minor"] == 1250
    file.write_text(f"{HEADER}\n{FULL}\n")
    assert run(kafka, tmp_path, str(file)).exit_code == 0
