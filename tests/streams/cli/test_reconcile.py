"""`linkstatus reconcile` with files: its options, its table, its records and its exit codes."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from connectors.kafka.cluster import Cluster
from schemas import codec
from schemas.limits import FILE_BYTES, RECONCILIATION_DAYS
from schemas.topics import (
    ORDER_CLOSE,
    ORDER_CORRECTIONS,
    ORDER_UPDATES,
    PAYOUTS,
    PAYOUTS_RAW,
    RECONCILIATIONS,
    Topic,
    message_key,
)
from streams.cli.errors import Exit
from tests.streams.domain.test_reconcile import NOVEMBER, close
from tests.support.codecs import CODECS
from tests.support.reading import read_all, values, write_all
from tests.support.shell import Ran, Shell

PERIOD = ("--from", "2025-11-01", "--to", "2025-11-02")
RESULTS: tuple[Topic[Any], ...] = (PAYOUTS_RAW, PAYOUTS, RECONCILIATIONS, ORDER_UPDATES)
ORDER = "a3710107-26e5-434c-8c5b-ebc19a77f37{}"
HEADER = "payout_id,settled_at,payment_id,currency,gross,fee,net"
ROWS = (
    f"B1,2025-11-01T09:00:00Z,{ORDER.format(1)}-P0,EUR,1234.50,24.69,1209.81",
    f"B1,2025-11-01T09:00:00Z,{ORDER.format(2)}-P0,EUR,9.00,0.18,8.82",
    "B1,2025-11-01T09:00:00Z,a payment of a stranger,SEK,1.00,0,1.00",
    "B0,2025-10-31T23:59:59Z,too early,EUR,1.00,0,1.00",
)


def run(shell: Shell, *args: str, code: int = 0) -> Ran:
    ran = shell.run(*args)
    assert ran.code == code, ran
    return ran


def file(tmp_path: Path, *rows: str, header: str = HEADER) -> str:
    path = tmp_path / "payouts.csv"
    path.write_text("\n".join((header, *rows)) + "\n")
    return str(path)


@pytest.fixture
def closed(kafka: Cluster) -> None:
    """Three orders of iPint were closed on 2025-11-01, one on the day before."""
    for number, amount in ((1, 123_450), (2, 1000), (3, 500), (4, 700)):
        record = close(ORDER.format(number), amount, provider="ipint")
        record["decided_at"] -= 86_400_000_000 * (number == 4)
        key = message_key("ipint", record["order_id"])
        write_all(kafka, ORDER_CLOSE.name, [(key, CODECS.encode(codec.ORDER_CLOSE, record))])
    write_all(kafka, ORDER_CLOSE.name, [(b"peach:O9", b"of another provider")])


def published(kafka: Cluster) -> dict[str, list[tuple[bytes | None, bytes | None]]]:
    """Return keys and values of all results, without repeats."""
    return {
        topic.name: sorted(
            {
                (message.key() or b"", message.value() or b"")
                for message in read_all(kafka, topic.name)
            }
        )
        for topic in RESULTS
    }


@pytest.mark.kafka
@pytest.mark.usefixtures("closed")
def test_file_with_differences_is_told_and_published_and_the_same_again(
    linkstatus: Shell, kafka: Cluster, tmp_path: Path
) -> None:
    command = ("reconcile", "--provider", "ipint", *PERIOD, "--file", file(tmp_path, *ROWS))
    first = run(linkstatus, *command, code=Exit.FAILED)
    assert max(map(len, first.out.splitlines())) <= 80
    table = first.out
    for row in (
        f"MISSING        {ORDER.format(3)}     5.00",
        f"AMOUNT_DIFFERS {ORDER.format(2)}    10.00",
        "UNKNOWN_TO_US  a payment of a stranger",
        f"MATCHED        {ORDER.format(1)} 1,234.50",
    ):
        assert row in table, table
    assert "paid out 9.00 EUR, 1.00 EUR less than closed" in table
    assert ORDER.format(4) not in table, "it was closed on another day"
    assert "1 missing, 1 amount differs, 1 unknown to us, 1 matched" in first.err
    assert "1 lines of the file are outside the period and not counted" in first.err
    before = published(kafka)
    second = run(linkstatus, *command, code=Exit.FAILED)
    assert (second.out, second.err) == (first.out, first.err)
    assert published(kafka) == before
    assert len(read_all(kafka, PAYOUTS_RAW.name)) == 1, "the same file is stored once"
    (day,) = {json.dumps(day) for day in values(kafka, RECONCILIATIONS)}
    record = json.loads(day)
    counts = ("matched", "missing", "amount_differs", "unknown_to_us")
    assert [record[name] for name in counts] == [1, 1, 1, 1]
    assert {update["order_id"] for update in values(kafka, ORDER_UPDATES)} == {ORDER.format(1)}


@pytest.mark.kafka
@pytest.mark.usefixtures("closed")
def test_json_has_all_rows_and_sums(linkstatus: Shell, tmp_path: Path) -> None:
    path = file(tmp_path, *ROWS)
    result = run(
        linkstatus,
        *("reconcile", "--provider", "ipint", *PERIOD, "--file", path, "--json", "--dry-run"),
        code=Exit.FAILED,
    )
    document = json.loads(result.out)
    assert document["counts"] == {
        "MISSING": 1,
        "AMOUNT_DIFFERS": 1,
        "UNKNOWN_TO_US": 1,
        "MATCHED": 1,
        "OTHER": 0,
    }
    euros, crowns = document["sums"]
    assert euros == {
        "currency": "EUR",
        "closed_minor": 123_450 + 1000 + 500,
        "gross_minor": 123_450 + 900,
        "fee_minor": 2469 + 18,
        "refunded_minor": 0,
        "net_minor": 120_981 + 882,
    }
    assert (crowns["currency"], crowns["net_minor"]) == ("SEK", 100)
    assert [row["payout_ids"] for row in document["rows"]] == [[], ["B1"], ["B1"], ["B1"]]


@pytest.mark.kafka
@pytest.mark.usefixtures("closed")
def test_equal_rows_of_a_file_are_two_payments(linkstatus: Shell, tmp_path: Path) -> None:
    row = f"T1,2025-11-01,{ORDER.format(3)}-P0,EUR,5.00"
    path = file(tmp_path, row, row, header="transaction_id,date,payment_id,currency,gross")
    command = ("reconcile", "--provider", "ipint", *PERIOD, "--file", path, "--dry-run")
    result = run(linkstatus, *command, code=Exit.FAILED)
    assert "paid out 10.00 EUR, 5.00 EUR more than closed" in result.out


@pytest.mark.kafka
@pytest.mark.usefixtures("closed")
def test_dry_run_publishes_nothing(linkstatus: Shell, kafka: Cluster, tmp_path: Path) -> None:
    path = file(tmp_path, *ROWS)
    run(
        linkstatus,
        *("reconcile", "--provider", "ipint", *PERIOD, "--file", path, "--dry-run"),
        code=Exit.FAILED,
    )
    assert all(read_all(kafka, topic.name) == [] for topic in RESULTS)


@pytest.mark.kafka
@pytest.mark.usefixtures("closed")
def test_files_of_other_days_count_and_a_newer_file_replaces_an_older_one(
    linkstatus: Shell, tmp_path: Path
) -> None:
    """The order is paid out in two payouts: with the second file it is whole."""
    own = f"{ORDER.format(2)}-P0"
    rest = [row for number in (1, 3) for row in [f"B1,2025-11-01,{ORDER.format(number)}-P0,EUR,"]]
    amounts = ("1234.50,0,1234.50", "5.00,0,5.00")
    others = [row + amount for row, amount in zip(rest, amounts, strict=True)]
    command = ("reconcile", "--provider", "ipint", "--file")
    wrong = file(tmp_path, *others, f"B1,2025-11-01,{own},EUR,10.01,0,10.01")
    assert "0.01 EUR more" in run(linkstatus, *command, wrong, *PERIOD, code=Exit.FAILED).out
    early = file(tmp_path, *others, f"B1,2025-11-01,{own},EUR,4.00,0,4.00")
    assert "6.00 EUR less" in run(linkstatus, *command, early, *PERIOD, code=Exit.FAILED).out
    late = file(tmp_path, f"B2,2025-11-02,{own},EUR,6.00,0,6.00")
    next_day = ("--from", "2025-11-02", "--to", "2025-11-03")
    assert f"MATCHED        {own[:-3]}" in run(linkstatus, *command, late, *next_day).out
    early = file(tmp_path, *others, f"B1,2025-11-01,{own},EUR,4.00,0,4.00")
    whole = run(linkstatus, *command, early, *PERIOD)
    assert "3 matched" in whole.err
    assert run(linkstatus, *command, early, *PERIOD, "--differences").out.count("MATCHED") == 0


@pytest.mark.kafka
def test_correction_of_a_close_without_an_amount_counts_and_the_same_again(
    linkstatus: Shell, kafka: Cluster, tmp_path: Path
) -> None:
    def write(topic: Topic[Any], record: Any) -> None:
        value = CODECS.encode(cast("codec.Schema[Any]", topic.schema), record)
        write_all(kafka, topic.name, [(b"ipint:O1", value)])

    path = file(tmp_path, "B1,2025-11-01,O1-P0,EUR,10.00,0,10.00")
    command = ("reconcile", "--provider", "ipint", *PERIOD, "--file", path)
    write(ORDER_CLOSE, close("O1", None, provider="ipint"))
    unknown = run(linkstatus, *command, code=Exit.FAILED)
    assert "closed without an amount" in unknown.out
    # The last one counts, even if an earlier one comes again.
    for number, amount in ((1, 900), (2, 1000), (1, 900)):
        fields = {"event_id": f"correction-{number}", "number": number, "corrects": ["close-O1"]}
        write(ORDER_CORRECTIONS, {**close("O1", amount, provider="ipint"), **fields})
    first = run(linkstatus, *command)
    assert "MATCHED        O1     10.00" in first.out
    before = published(kafka)
    again = run(linkstatus, *command)
    assert (again.out, again.err) == (first.out, first.err)
    assert published(kafka) == before
    assert {update["order_id"] for update in values(kafka, ORDER_UPDATES)} == {"O1"}


TOMORROW = datetime.now(UTC).date() + timedelta(days=1)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--provider", "acme"], "acme is not one of"),
        ([], "Missing option '--provider'"),
        (["--provider", "ipint"], "ipint has no API that lists payouts: give --file"),
        (
            ["--provider", "ping"],
            "no credentials: set LINKSTATUS_PING__TENANT_ID, LINKSTATUS_PING__API_SECRET",
        ),
        (["--provider", "ping", "--from", "yesterday"], "'yesterday' does not match the format"),
        (["--provider", "ping", "--from", "2025-11-02", "--to", "2025-11-02"], "is not after"),
        (["--provider", "ping", "--from", "2025-01-01", "--to", "2025-11-01"], "longer than"),
        (["--provider", "ping", "--to", str(TOMORROW + timedelta(days=1))], "is in the future"),
        (["--provider", "ipint", "--file", "no.csv"], "no.csv: No such file"),
        (["--provider", "ipint", "--file", "wrong.csv"], "there is no column for an amount"),
        (["--provider", "ipint", "--file", "rows.csv"], "line 3: gross: 'two' is not an amount"),
        (["--provider", "ipint", "--file", "large.csv"], "is larger than 64 MiB: divide it"),
    ],
)
def test_wrong_option_or_file_ends_with_2(
    shell: Shell, tmp_path: Path, options: list[str], fault: str
) -> None:
    shell.set(BROKERS="127.0.0.1:1")
    (tmp_path / "wrong.csv").write_text("a,b\n")
    (tmp_path / "rows.csv").write_text("link_id,gross,currency\nL1,1,EUR\nL2,two,EUR\n")
    with (tmp_path / "large.csv").open("wb") as large:
        large.truncate(FILE_BYTES + 1)
    result = run(shell, "reconcile", *options, code=Exit.USAGE)
    assert fault in " ".join(result.err.replace("│", " ").split())


def test_peach_lists_nothing_before_2023(shell: Shell) -> None:
    shell.set(
        BROKERS="127.0.0.1:1",
        PEACH__CLIENT_ID="me",
        PEACH__CLIENT_SECRET="s",
        PEACH__MERCHANT_ID="m",
    )
    options = ("--provider", "peach", "--from", "2022-12-31")
    result = run(shell, "reconcile", *options, code=Exit.USAGE)
    assert "peach lists nothing before 2023-01-01" in result.err


def test_longest_period_is_taken(shell: Shell, tmp_path: Path) -> None:
    """It fails only because no broker answers."""
    shell.set(BROKERS="127.0.0.1:1")
    first = datetime.now(UTC).date() - timedelta(days=RECONCILIATION_DAYS)
    days = ("--from", str(first), "--to", str(TOMORROW - timedelta(days=1)))
    path = file(tmp_path, *ROWS)
    command = ("reconcile", "--provider", "ipint", "--file", path)
    run(shell, *command, *days, code=Exit.UNAVAILABLE)
    days = ("--from", str(first), "--to", str(TOMORROW))
    assert "longer than 92 days" in run(shell, *command, *days, code=Exit.USAGE).err


def test_provider_that_does_not_answer_ends_with_3(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.set(
        BROKERS="127.0.0.1:1",
        PING__PAYMENTS_URL="http://127.0.0.1:9",
        PING__TENANT_ID="t",
        PING__API_SECRET="s",
    )
    monkeypatch.setattr("connectors.http.caller.ATTEMPTS", 1)
    result = run(shell, "reconcile", "--provider", "ping", code=Exit.UNAVAILABLE)
    assert "ping does not list its payouts" in result.err


def test_november_is_what_the_tests_say() -> None:
    assert (
        datetime.fromtimestamp(NOVEMBER / 1_000_000, UTC).isoformat() == "2025-11-01T00:00:00+00:00"
    )
