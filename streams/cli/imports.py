"""`linkstatus import`: links that exist at a provider already."""

from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from schemas.times import day_of, start_of
from streams.cli.arguments import (
    DryRun,
    OneJson,
    Provider,
    check_period,
    connection,
    content_of,
    missing_credentials,
)
from streams.cli.errors import Failed
from streams.cli.terminal import harmless, print_json, progress, say
from streams.local import data_folder

if TYPE_CHECKING:
    from connectors.imports.run import Summary, Window
    from connectors.providers.base import Provider as ProviderOf
    from streams.settings import Settings

_DAY = timedelta(days=1)
# The share of the account's calls that an import makes by default.
_SHARE = 4
_NAMED = 20


def import_(
    provider: Provider,
    orders: Annotated[
        Literal["open", "closed"],
        typer.Option(
            help="Orders of paid links: still open, so they close now; or closed before, elsewhere."
        ),
    ],
    since: Annotated[
        str, typer.Option(help="Links of this UTC day, 2030-01-31 or 3d (ago), and of later ones.")
    ] = "",
    until: Annotated[str, typer.Option(help="Links before this UTC day; default: all.")] = "",
    file: Annotated[
        Path | None,
        typer.Option(help="CSV or JSON lines that name the links, instead of the provider's list."),
    ] = None,
    per_second: Annotated[
        float | None,
        typer.Option(min=0.01, help="Calls a second; default: a quarter of those for lookups."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also what an import has covered, and paid links.")
    ] = False,
    dry_run: DryRun = False,
    json: OneJson = False,
) -> None:
    """Import links that exist at a provider: to begin, or to heal after an outage.

    The provider's API lists the links that were created on each day, or a file names them. The
    command asks the API about each link, behind the live traffic, and publishes the answers
    with source=import. It goes on where it was stopped, and leaves out what it has covered.
    --orders closed publishes neither order-close nor settlement for links that are paid now.
    Ends with exit code 1 if a link was not found or not answered, and with 3 if the provider or
    Kafka does not answer.

        linkstatus import peach --since 2025-11-01 --orders open

        linkstatus import ipint --file links.csv --orders closed
    """
    from connectors.imports.run import Job, import_links
    from connectors.imports.topics import ImportTopics
    from streams import wiring

    settings = data_folder.settings()
    instance = _provider(settings, provider)
    windows = _windows(provider, instance, since, until, file)
    job = Job(provider, instance, orders == "closed", again, publish=not dry_run)
    rate = per_second or wiring.rates(settings)[provider] / _SHARE
    topics = ImportTopics(settings.cluster(), wiring.codecs(settings), provider)
    with progress("importing links", None) as advance:
        timeout = settings.lookups.timeout_seconds
        summary = import_links(topics, job, windows, rate, timeout, advance)
    if json:
        print_json(_as_json(provider, summary))
    _remarks(summary, dry_run)
    if not summary.is_complete:
        raise Failed("some links were not imported")


def _provider(settings: "Settings", name: str) -> "ProviderOf":
    provider = connection(settings, name)
    if not provider.can_look_up():
        raise typer.BadParameter(missing_credentials(name, provider))
    return provider


def _windows(
    name: str,
    provider: "ProviderOf",
    since: str,
    until: str,
    path: Path | None,
) -> Iterable["Window"]:
    from connectors.clock import micros_now
    from connectors.imports import file, windows
    from connectors.providers.link_list import LinkListApi

    if path is not None:
        if since or until:
            raise typer.BadParameter("a file has its links: leave --since and --until out")
        body = content_of(path)
        return [windows.of_file(body, file.read(body, name, provider.LINK_COLUMNS))]
    if not isinstance(provider, LinkListApi):
        columns = " or ".join(("link_id", *provider.LINK_COLUMNS))
        raise typer.BadParameter(
            f"{name} has no API that lists links: give --file, CSV with a column {columns}, or "
            "JSON lines with such a field"
        )
    if not since:
        raise typer.BadParameter("give --since, the day of the first links, or --file")
    now = micros_now()
    start, end = _period(since, until, now)
    return windows.days(name, provider, start_of(start), start_of(end), now)


def _period(since: str, until: str, now: int) -> tuple[date, date]:
    today = day_of(now)
    start, end = _day("--since", since, now), _day("--until", until, now) if until else today + _DAY
    check_period(start, end, today, ("--since", "--until"))
    return start, end


def _day(name: str, text: str, now: int) -> date:
    from connectors.triage.filter import BadTime, parse_time

    try:
        return day_of(parse_time(text, now))
    except BadTime as error:
        raise typer.BadParameter(f"{name}: {error}") from None


def _remarks(summary: "Summary", dry_run: bool) -> None:
    """Print what became of the links, to stderr."""
    for what, links in (
        ("not found at the provider", summary.not_found),
        ("no answer about", summary.unanswered),
        ("cannot be read", summary.refused),
    ):
        for link in links[:_NAMED]:
            say(f"{what}: {harmless(link)}")
        if len(links) > _NAMED:
            say(f"{what}: {len(links) - _NAMED:,} more")
    verb, number = "would be imported" if dry_run else "imported", summary.new + summary.known
    say(
        f"{number:,} links {verb}: {summary.new:,} new, {summary.known:,} known",
        f"{summary.skipped:,} links left out: known as paid or final",
        f"{summary.windows:,} days or files, {summary.covered:,} more were covered before",
    )


def _as_json(provider: str, summary: "Summary") -> dict[str, Any]:
    return {
        "provider": provider,
        "windows": summary.windows,
        "covered": summary.covered,
        "new": summary.new,
        "known": summary.known,
        "skipped": summary.skipped,
        "not_found": [*map(harmless, summary.not_found)],
        "unanswered": [*map(harmless, summary.unanswered)],
        "refused": [*map(harmless, summary.refused)],
    }
