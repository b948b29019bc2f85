"""`linkstatus reconcile`: what a provider paid out, against what we closed."""

from collections.abc import Iterable
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.limits import RECONCILIATION_DAYS
from schemas.times import day_of, start_of
from streams.cli import completion, tables
from streams.cli.arguments import (
    OneJson,
    check_period,
    connection,
    content_of,
    known_provider,
    missing_credentials,
)
from streams.cli.errors import Failed
from streams.cli.terminal import harmless, print_json, progress, say
from streams.local import data_folder

if TYPE_CHECKING:
    from rich.table import Table

    from streams.domain.reconcile import Result, Row
    from streams.reconcile import Job, Outcome
    from streams.settings import Settings

_DAY = timedelta(days=1)
_SEVERAL = "several currencies"


def reconcile(
    provider: Annotated[
        str,
        typer.Option(
            help="ping, peach, truelayer, ipint, or the name of a further account.",
            autocompletion=completion.providers,
            callback=known_provider,
        ),
    ],
    from_: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="First day, UTC; default: yesterday."),
    ] = None,
    to: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="The day after the last one; default: one day."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(help="CSV as the provider exports it, instead of its API.", dir_okay=False),
    ] = None,
    differences: Annotated[
        bool, typer.Option("--differences", help="Only the orders that differ.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Store and publish nothing.")] = False,
    json: OneJson = False,
) -> None:
    """Compare what a provider paid out with the orders that were closed, by order.

    MATCHED: paid out as closed. MISSING: in no payout. AMOUNT_DIFFERS: paid out with another
    amount; fees are apart. UNKNOWN_TO_US: paid out without a close. Ends with exit code 1 if there
    are differences, and with 2 if the file or an option is wrong. Running it again gives the same.

        linkstatus reconcile --provider peach --from 2025-11-01 --to 2025-11-02
        linkstatus reconcile --provider ipint --file payouts.csv --from 2025-11-01
    """
    from streams import wiring

    settings = data_folder.settings()
    today = datetime.now(UTC).date()
    first = from_.date() if from_ else today - _DAY
    job = _job(settings, provider, first, to.date() if to else first + _DAY, today, file, dry_run)
    content = None if file is None else content_of(file)
    days = _days_to_fetch(job) if content is None else 0
    with progress("fetching days", days) if days else nullcontext(lambda _: None) as advance:
        outcome = wiring.reconcile(settings, job, content, advance)
    if json:
        print_json(_as_json(job, outcome))
    else:
        _draw(outcome.result, differences)
    _remarks(outcome)
    if not outcome.is_complete:
        raise Failed("what was paid out differs from what was closed")


def _job(
    settings: "Settings",
    name: str,
    first: date,
    end: date,
    today: date,
    file: Path | None,
    dry_run: bool,
) -> "Job":
    from connectors.providers.payout_api import PayoutApi
    from streams.domain.reconcile import Period
    from streams.reconcile import Job

    instance = connection(settings, name)
    period = Period(start_of(first), start_of(end))
    check_period(first, end, today, ("--from", "--to"))
    if (end - first).days > RECONCILIATION_DAYS:
        raise typer.BadParameter(f"the period is longer than {RECONCILIATION_DAYS} days")
    if file is None:
        if not isinstance(instance, PayoutApi):
            raise typer.BadParameter(f"{name} has no API that lists payouts: give --file")
        if not instance.can_look_up():
            problem = missing_credentials(name, instance)
            raise typer.BadParameter(f"{problem}, or give --file")
        if period.start < instance.PAYOUTS_SINCE:
            since = datetime.fromtimestamp(instance.PAYOUTS_SINCE // 1_000_000, UTC).date()
            raise typer.BadParameter(f"{name} lists nothing before {since}")
    return Job(name, instance, period, publish=not dry_run)


def _days_to_fetch(job: "Job") -> int:
    from streams.reconcile import days_to_fetch

    return len(days_to_fetch(job))


def _draw(result: "Result", differences: bool) -> None:
    """Print a table for each currency, then what differs, then the sums. 80 columns are enough."""
    from streams.domain.reconcile import DIFFERENCES

    rows = [row for row in result.rows if not differences or row.outcome in DIFFERENCES]
    by_currency: dict[str, list[Row]] = {}
    for row in rows:
        by_currency.setdefault(_currency(row) or _SEVERAL, []).append(row)
    console = tables.console()
    for currency in sorted(by_currency):
        console.print(_table(currency, by_currency[currency]))
    for row in rows:
        if row.detail:
            console.print(tables.text(f"{row.outcome} {row.subject}", "bold red"), soft_wrap=True)
            console.print(tables.text(f"  {row.detail}"))
    if result.rows:
        console.print(_sums(result))


def _currency(row: "Row") -> str | None:
    from streams.domain.payout_records import row_of

    return row_of(row)["currency"]


def _table(currency: str, rows: Iterable["Row"]) -> "Table":
    from streams.domain.payout_records import row_of
    from streams.domain.reconcile import DIFFERENCES

    table = tables.grid(currency, "order", "closed", "fee", "net")
    table.padding = (0, 1, 0, 0)
    table.columns[0].min_width = max(map(len, DIFFERENCES))
    for column in (table.columns[0], *table.columns[2:]):
        column.no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        record = row_of(row)
        amounts = (record["closed_minor"], record["fee_minor"], record["net_minor"])
        known = record["currency"]
        style = {"MATCHED": "green", "OTHER": "dim"}.get(row.outcome, "bold red")
        table.add_row(
            tables.text(row.outcome, style),
            tables.text(row.subject),
            *("" if known is None else tables.bare_money(amount, known) for amount in amounts),
        )
    return table


def _sums(result: "Result") -> "Table":
    from streams.domain.payout_records import sums_of

    table = tables.grid("sum", "closed", "paid out", "fees", "refunds", "net")
    for column in table.columns[1:]:
        column.justify = "right"
    for sums in sums_of(result):
        minor = ("closed_minor", "gross_minor", "fee_minor", "refunded_minor", "net_minor")
        values: Any = sums
        currency = sums["currency"]
        table.add_row(currency, *(tables.bare_money(values[name], currency) for name in minor))
    return table


def _remarks(outcome: "Outcome") -> None:
    """Print to stderr what is not in the table."""
    from streams.domain.reconcile import OUTCOMES

    for fault in outcome.refused:
        say(f"cannot be read: {fault}")
    if outcome.outside:
        say(f"{len(outcome.outside)} lines of the file are outside the period and not counted")
    if outcome.unreadable:
        say(f"{outcome.unreadable} records of closes and their corrections cannot be read")
    counts = [(outcome.result.count(name), name) for name in OUTCOMES]
    texts = [f"{count} {name.replace('_', ' ').lower()}" for count, name in counts if count]
    say(", ".join(texts) or "nothing was closed, and nothing was paid out")


def _as_json(job: "Job", outcome: "Outcome") -> dict[str, Any]:
    from streams.domain.payout_records import row_of, sums_of
    from streams.domain.reconcile import OUTCOMES

    result = outcome.result
    return {
        "provider": job.name,
        "from": str(day_of(job.period.start)),
        "to": str(day_of(job.period.end)),
        "counts": {name: result.count(name) for name in OUTCOMES},
        "sums": sums_of(result),
        "rows": [row_of(row) for row in result.rows],
        "refused": [harmless(fault) for fault in outcome.refused],
        "outside": len(outcome.outside),
    }
