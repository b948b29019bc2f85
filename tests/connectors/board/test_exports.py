"""Every list as CSV: whole, of one moment, and harmless in a spreadsheet."""

import csv
import io
import itertools
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.board import exports
from connectors.board.board import Board
from connectors.board.exports import EXPORTS, lines
from connectors.board.http import csv_text, parameters
from connectors.board.process import application
from schemas import limits, topics
from tests.connectors.board.conftest import (
    BEARER,
    EACH_DATABASE,
    READING,
    Site,
    client_of,
    config,
    opened_board,
)
from tests.connectors.board.samples import AT, Make, save
from tests.connectors.board.test_money import put_some
from tests.support.wire import listening

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "＠x", "  =1")


async def rows_of(site: Site, path: str) -> list[dict[str, str]]:
    answer = await site.client.get(path, headers=READING)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    name = path.partition(".")[0].strip("/")
    file = rf'attachment; filename="linkstatus-{name}-\d{{8}}T\d{{6}}Z\.csv"'
    assert re.fullmatch(file, answer.headers["content-disposition"])
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2)))
def test_no_text_begins_as_a_formula_and_nothing_is_lost(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(csv_text.text(rows), newline="")))
    assert [[cell.removeprefix("'") for cell in row] for row in read] == [
        [cell.removeprefix("'") for cell in row] for row in rows
    ]
    formulas = tuple("=+-@\t\r\n＝＋－＠")
    assert not [cell for row in read for cell in row if cell.strip(" ").startswith(formulas)]


def test_numbers_stay_numbers() -> None:
    cells = [-1, Decimal("-0.34"), Decimal("1E+3"), None, *FORMULAS]
    (row,) = csv.reader(io.StringIO(csv_text.text([cells]), newline=""))
    assert row == ["-1", "-0.34", "1000", "", *(f"'{formula}" for formula in FORMULAS)]


@pytest.mark.parametrize("more", [b"transfer-encoding: gzip, chunked", b"content-length: 70000"])
async def test_body_of_the_request_does_not_break_an_export(board: Board, more: bytes) -> None:
    """It is read while the rows are on their way, when it is too late for another answer."""
    body = b"0\r\n\r\n" if more.startswith(b"t") else b"x" * 70_000
    async with listening(application(board, [])) as wire:
        connection = await wire.connect()
        start = b"GET /links.csv HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        await connection.send(start + more + b"\r\n\r\n" + body)
        status, text = await connection.answer()
    assert (status, text[:8]) == (200, b"provider")


@EACH_DATABASE
async def test_each_list_is_exported_with_all_its_columns(site: Site) -> None:
    put_some(site)
    make = site.make
    site.put(topics.ANOMALIES, make.anomaly("a1"))
    notice = {"attributes": {"iban": "x", "card.number": "4111111111111111"}}
    site.put(topics.NOTICES, make.notice("n1") | notice)
    site.put_dead_letters("=no JSON")
    for name, export in EXPORTS.items():
        query = "?since=2023-11-01&until=2023-11-20" if name == "money" else ""
        rows = await rows_of(site, f"/{name}.csv{query}")
        assert rows, name
        assert list(rows[0]) == list(export.columns)
        assert f'href="/{name}.csv' in await site.page(f"/{name}")
    (link,) = await rows_of(site, "/links.csv?q=yen")
    assert (link["amount"], link["currency"]) == ("900", "JPY")
    assert {row["refunded"] for row in await rows_of(site, "/links.csv")} <= {"", "0", "0.00"}
    orders = {row["order_id"]: row for row in await rows_of(site, "/orders.csv")}
    assert [orders[n]["stage"] for n in ("o1", "o2")] == ["CLOSED", "SETTLED"]
    assert (orders["o1"]["total"], orders["o1"]["waiting"][:13]) == ("12.34", "waits for our")
    (letter,) = await rows_of(site, "/dead-letters.csv")
    assert (letter["reason"], letter["bytes"], letter["origin"]) == (
        *("'=no JSON", "1"),
        "callbacks.ping/0/7",
    )
    (notice_row,) = await rows_of(site, "/notices.csv")
    assert "4111111111111111" not in notice_row["attributes"]
    money = await rows_of(site, "/money.csv?since=2023-11-16&until=2023-11-17")
    assert [(row["currency"], row["different"]) for row in money] == [("EUR", "-0.34")]


async def test_filters_of_the_view_are_those_of_the_export(site: Site) -> None:
    make = site.make
    links = [make.status(f"l{n}", changed_at=AT + n * 86_400_000_000) for n in range(4)]
    site.put(topics.LINK_STATUS, *links, make.status("paid", status="PAID"))
    view = "?status=CREATED&since=2023-11-15&until=2023-11-17"
    assert [row["link_id"] for row in await rows_of(site, f"/links.csv{view}")] == ["l2", "l1"]
    listed = await site.get(f"/links{view}")
    assert [row["link_id"] for row in listed["links"]] == ["l2", "l1"]
    page = await site.page(f"/links{view}&limit=1")
    assert "/links.csv?status=CREATED&amp;since=2023-11-15&amp;until=2023-11-17" in page
    assert "since: " in (await site.get("/links.csv?since=today", 422))["error"]
    assert "limit: there is no such field" in (await site.get("/links.csv?limit=3", 422))["error"]


@EACH_DATABASE
def test_export_is_of_one_moment_while_the_board_goes_on_writing(
    board: Board, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_ROWS", 10)
    save(board.store, make.statuses(*(make.status(f"l{n:03}", changed_at=n) for n in range(100))))
    parts = lines(board, EXPORTS["links"], parameters.LinkFilter())
    first = list(itertools.islice(parts, 2))
    later = [make.status(f"l{n:03}", changed_at=n, version=2, status="PAID") for n in range(100)]
    save(board.store, make.statuses(*later, make.status("new", changed_at=5)))
    rows = list(csv.DictReader(io.StringIO("".join([*first, *parts]))))
    assert len(first[1].splitlines()) == 10
    assert [row["link_id"] for row in rows] == [f"l{n:03}" for n in reversed(range(100))]
    assert {row["status"] for row in rows} == {"CREATED"}


async def test_so_many_exports_run_at_once_and_no_more(site: Site, board: Board) -> None:
    running = [lines(board, EXPORTS["links"], parameters.LinkFilter()) for _ in range(4)]
    assert limits.EXPORTS == 4
    for parts in running:
        assert next(parts).startswith("provider,link_id,")
    answer = await site.client.get("/links.csv")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    running[0].close()  # its client leaves
    assert await rows_of(site, "/links.csv") == []
    assert await rows_of(site, "/links.csv") == []


async def test_export_needs_the_same_right_as_its_list(database_url: str) -> None:
    with opened_board(config(database_url, host="0.0.0.0")) as board:
        url = "http://board.example:8080"
        async with client_of(board, url, client=("192.0.2.1", 1)) as client:
            paths: Sequence[Any] = [f"/{name}.csv" for name in EXPORTS]
            assert {(await client.get(path)).status_code for path in paths} == {401}
            answers = [await client.get(path, headers=BEARER) for path in paths]
            assert {answer.status_code for answer in answers} == {200}
