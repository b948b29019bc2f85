"""`linkstatus import`: its options, and what it asks for. The import itself is in tests/e2e."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.limits import FILE_BYTES
from streams.cli.errors import Exit
from tests.support.shell import Shell

TODAY = datetime.now(UTC).date()
AFTER_TOMORROW = str(TODAY + timedelta(days=2))


@pytest.fixture
def configured(shell: Shell) -> Shell:
    """The shell with credentials of Peach and iPint, and no Kafka."""
    names = {"CLIENT_ID": "me", "CLIENT_SECRET": "s3cret", "MERCHANT_ID": "m"}
    shell.set(**{f"PEACH__{name}": value for name, value in names.items()})
    shell.set(IPINT__API_KEY="key", IPINT__API_SECRET="s3cret", BROKERS="127.0.0.1:9")
    return shell


def refusal(shell: Shell, *args: str, code: int = Exit.USAGE) -> str:
    ran = shell.run("import", *args)
    assert (ran.code, ran.out) == (code, ""), ran
    # The frame of the message is cut into lines.
    return " ".join(ran.err.replace("│", " ").split())


def test_missing_credentials_are_named(shell: Shell) -> None:
    text = refusal(shell, "peach", "--since", "2025-11-01", "--orders", "open")
    assert "set LINKSTATUS_PEACH__CLIENT_ID, LINKSTATUS_PEACH__CLIENT_SECRET" in text


def test_orders_must_be_chosen(configured: Shell) -> None:
    assert "--orders" in refusal(configured, "peach", "--since", "2025-11-01")
    assert "open" in refusal(configured, "peach", "--since", "2025-11-01", "--orders", "x")


def test_provider_without_a_list_asks_for_a_file(configured: Shell) -> None:
    text = refusal(configured, "ipint", "--since", "2025-11-01", "--orders", "open")
    assert "ipint has no API that lists links: give --file" in text
    assert "link_id or invoiceid or sessionid" in text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "give --since, the day of the first links, or --file"),
        (["--since", "2025-11-02", "--until", "2025-11-02"], "is not after --since 2025-11-02"),
        (["--since", str(TODAY), "--until", AFTER_TOMORROW], "is in the future"),
        (["--since", AFTER_TOMORROW], "is not after --since"),
        (["--since", "3d", "--until", "4d"], "is not after --since"),
        (["--since", "yesterday"], "--since: yesterday is not a time: write 2h, 3d"),
        (["--file", "missing.csv"], "missing.csv: No such file or directory"),
        (["--file", "missing.csv", "--since", "2025-11-01"], "leave --since and --until out"),
        (["--since", "2025-11-01", "--per-second", "0"], "greater than or equal to 0.01"),
    ],
)
def test_wrong_option_is_named(configured: Shell, options: list[str], problem: str) -> None:
    assert problem in refusal(configured, "peach", "--orders", "open", *options)


def test_file_without_links_and_a_large_one_are_refused(configured: Shell, tmp_path: Path) -> None:
    file = tmp_path / "links.csv"
    file.write_text("name\na\n")
    options = ("ipint", "--orders", "open", "--file", str(file))
    assert "names no column link_id" in refusal(configured, *options)
    with file.open("wb") as large:
        large.truncate(FILE_BYTES + 1)
    assert "is larger than 64 MiB: divide it" in refusal(configured, *options)


def test_kafka_that_is_away_is_told(configured: Shell, tmp_path: Path) -> None:
    file = tmp_path / "links.csv"
    file.write_text("link_id\na\n")
    options = ("ipint", "--orders", "open", "--file", str(file))
    text = refusal(configured, *options, code=Exit.UNAVAILABLE)
    assert "no Kafka broker answers at 127.0.0.1:9" in text
