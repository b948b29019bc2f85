"""Every golden answer and file yields the lines beside it (`--update-golden` rewrites them)."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from connectors.payouts import csv_file
from connectors.payouts.csv_file import BadFile
from connectors.providers.base import Unreadable
from connectors.providers.payout_api import PayoutApi, PayoutLines
from connectors.providers.registry import PROVIDERS
from tests.streams.domain.test_reconcile import NOVEMBER

FOLDER = Path(__file__).parents[2] / "golden" / "payouts"
FILES = [file for file in sorted(FOLDER.glob("*/*.*")) if not file.name.endswith(".expected.json")]


def lines(file: Path) -> PayoutLines:
    kind = PROVIDERS[file.parent.name]
    provider = kind(kind.Config())
    if file.suffix == ".csv":
        return csv_file.read(file.read_bytes(), kind.PAYOUT_COLUMNS, {}, NOVEMBER)
    assert isinstance(provider, PayoutApi)
    return provider.read_payouts(file.read_bytes())


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_golden_payouts_yield_their_lines(file: Path, update_golden: bool) -> None:
    content: Any
    try:
        found = lines(file)
    except Unreadable as error:
        content = {"unreadable": str(error)}
    else:
        content = {
            "lines": [asdict(line) for line in found.lines],
            "refused": [f"{item}: {error}" for item, error in found.refused],
        }
    expected = file.with_name(f"{file.name}.expected.json")
    if update_golden:
        expected.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    assert content == json.loads(expected.read_text())


def test_every_provider_has_a_golden_file() -> None:
    assert {file.parent.name for file in FILES} == PROVIDERS.keys()


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "there is no column for an amount (gross, fee, net, debit or credit) and for"),
        (b"a,b\n1,2\n", "the columns are a, b. Name them with PAYOUT_COLUMNS"),
        (b"payment_id,amount\nP,1\n", "there is no column for currency; the columns are"),
        (b"amount,currency\n1,EUR\n", "no column for payment_id, order_id, link_id, line_id"),
        (
            b"payment_id,amount,currency\n\xff,1,EUR\n",
            "byte 27 is not UTF-8",
        ),
        (b"payment_id,amount,currency,Amount\nP,1,EUR,2\n", "'amount' is there more than once"),
        (b'payment_id,amount,currency\n"P,1,EUR\n', "it is not CSV in UTF-8: unexpected end"),
    ],
)
def test_file_without_what_a_line_needs_is_refused(body: bytes, fault: str) -> None:
    with pytest.raises(BadFile) as error:
        csv_file.read(body, {}, {}, NOVEMBER)
    assert fault in str(error.value)


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (b"P,EUR,12", "line 2: has fewer cells than there are columns"),
        (b"P,EUR,12,,", "line 2: has more cells than there are columns"),
        (b"P,EUR,,99999999999999999999", "line 2: amount_minor: '99999999999999999999' is no"),
        (b"P,EUR,,1_000", "line 2: amount_minor: '1_000' is no integer"),
    ],
)
def test_row_that_is_cut_off_or_has_no_amount_is_refused(row: bytes, fault: str) -> None:
    found = csv_file.read(b"payment_id,currency,amount,amount_minor\n" + row, {}, {}, NOVEMBER)
    assert found.lines == ()
    assert [f"{item}: {error}"[: len(fault)] for item, error in found.refused] == [fault]


def test_row_of_empty_cells_is_no_line() -> None:
    found = csv_file.read(b"payment_id;amount;currency\nP;1,00;EUR\n;;\n ; ;\n\n", {}, {}, NOVEMBER)
    assert [line.payment_id for line in found.lines] == ["P"]
    assert found.refused == ()


def test_setting_names_columns_that_are_not_known() -> None:
    body = "Référence;Belopp;Valuta\nP-1;12,30;SEK\n".encode()
    configured: Any = {"payment_id": "référence", "net": "BELOPP", "currency": "valuta"}
    (line,) = csv_file.read(body, {}, configured, NOVEMBER).lines
    assert (line.payment_id, line.gross_minor, line.at) == ("P-1", 1230, NOVEMBER)
    configured["net"] = "Summa"
    with pytest.raises(BadFile, match=r"there is no column 'Summa' \(PAYOUT_COLUMNS, net\)"):
        csv_file.read(body, {}, configured, NOVEMBER)
