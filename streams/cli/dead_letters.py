"""`linkstatus dead-letters`: find, show, replay and resolve the records that no rule accepts."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connectors.board.http.text import plural
from streams.cli import marking, tables
from streams.cli.arguments import (
    By,
    DryRun,
    Json,
    Limit,
    Note,
    OfLink,
    OfProvider,
    OneJson,
    Show,
    Since,
    Until,
    Yes,
)
from streams.cli.terminal import (
    harmless,
    print_json,
    progress,
    readable,
    readable_body,
    readable_headers,
    say,
    user,
)
from streams.local import data_folder

if TYPE_CHECKING:
    from rich.table import Table

    from connectors.triage.dead_letter import DeadLetter
    from connectors.triage.filter import Filter
    from connectors.triage.resolution import Resolutions

_SHOWN_REASONS = 10
_NOUN = ("dead letter", "dead letters")

Places = Annotated[
    list[str] | None, typer.Argument(metavar="PARTITION/OFFSET", help="Ids, as `list` shows them.")
]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]
Reason = Annotated[str, typer.Option(help="A part of the reason, in any case.")]
Stage = Annotated[str, typer.Option(help="The stage that dead-lettered it.")]

commands = typer.Typer(
    name="dead-letters",
    help="Records that no rule accepts, each with its reason.",
    no_args_is_help=True,
)


@commands.command("list")
def list_(
    reason: Reason = "",
    stage: Stage = "",
    provider: OfProvider = None,
    link: OfLink = "",
    since: Since = "",
    until: Until = "",
    show: Show = "open",
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """List dead letters, oldest first in each partition.

    A dead letter is open until you replay or resolve it.

        linkstatus dead-letters list --reason "unknown status" --since 2h
    """
    from connectors.triage import reader, resolution
    from streams import wiring

    where = _filter((), reason, stage, provider, link, since, until)
    settings = data_folder.settings()
    cluster = settings.cluster()
    known = resolution.read(cluster, wiring.reading_codecs(settings))
    shown = {"open": known.is_open, "resolved": known.mark_of, "all": lambda _: True}[show]
    chosen = islice(filter(shown, reader.dead_letters(cluster, where)), limit)
    tables.print_rows((_described(one, known) for one in chosen), _table, json=json)


@commands.command()
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="As `list` shows it.")],
    json: Json = False,
) -> None:
    """Show one dead letter: its headers and its bytes.

    A terminal shows control characters as escapes; a pipe gets the bytes as they are.
    """
    from connectors.providers import content
    from connectors.triage import reader

    (dead_letter,) = reader.dead_letters(data_folder.settings().cluster(), _filter([place]))
    if json:
        print_json(_described(dead_letter))
        return
    for name, value in dead_letter.headers:
        print(harmless(f"{name}: {(value or b'').decode(errors='replace')}"))
    print(flush=True)
    body = dead_letter.body or b""
    if sys.stdout.isatty():  # the sender could send it commands
        encoding = {content.HEADER: dead_letter.header(content.HEADER)}
        text = (content.shown(body, encoding) or b"").decode(errors="backslashreplace")
        print(*map(harmless, text.split("\n")), sep="\n")
        return
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


@commands.command()
def replay(
    places: Places = None,
    reason: Reason = "",
    stage: Stage = "",
    provider: OfProvider = None,
    link: OfLink = "",
    since: Since = "",
    until: Until = "",
    all_: All = False,
    again: Annotated[bool, typer.Option("--again", help="Also those replayed before.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="At most this many a second.")] = 50.0,
    by: By = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: OneJson = False,
) -> None:
    """Publish dead letters again, as received, to the topics they came from.

    The agents process them again, with source=replay. The topic `replays` keeps who did it and
    when. The command shows how many there are and asks for confirmation, unless you name each.
    It leaves resolved dead letters out, unless you name them.

        linkstatus dead-letters replay --reason "unknown status" --dry-run
    """
    from connectors.triage.replay import replay, select
    from streams import wiring

    where = _selection(places, all_, reason, stage, provider, link, since, until)
    settings = data_folder.settings()
    cluster, codecs = settings.cluster(), wiring.codecs(settings)
    dead_letters = select(cluster, codecs, where, again=again or bool(places))
    say(f"{plural(len(dead_letters), *_NOUN)} to replay", *_lines(dead_letters))
    published = 0
    if dead_letters and not dry_run:
        marking.confirm(f"replay {len(dead_letters)}?", yes=yes or bool(places))
        with progress("replaying", len(dead_letters)) as advance:
            sent = replay(
                cluster, codecs, dead_letters, by or user(), per_second=rate, advance=advance
            )
        for topic, count in sent.items():
            say(f"{topic}: {count} published again")
        published = sent.total()
    if json:
        counts = {"count": len(dead_letters), "published": published}
        print_json({**counts, "reasons": _reasons(dead_letters)})


@commands.command(
    "reopen",
    help="""Reopen dead letters that were resolved.

    They return to the list of open ones; the topic `notices` keeps who did it, when, and the note.

        linkstatus dead-letters reopen 0/17 --note "not a scanner"
    """,
)
@commands.command(
    "resolve",
    help="""Resolve dead letters that no replay will cure, such as forged bodies.

    They leave the list of open ones, and replays leave them out. The topic `notices` keeps who did
    it, when, and the note. The command shows how many there are and asks for confirmation, unless
    you name each.

        linkstatus dead-letters resolve --reason "no JSON" --note "a scanner"
    """,
)
def mark(
    context: typer.Context,
    places: Places = None,
    reason: Reason = "",
    stage: Stage = "",
    provider: OfProvider = None,
    link: OfLink = "",
    since: Since = "",
    until: Until = "",
    all_: All = False,
    by: By = "",
    note: Note = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    json: OneJson = False,
) -> None:
    from connectors.clock import micros_now
    from connectors.triage import reader, resolution
    from connectors.triage.audit import Mark
    from streams import wiring

    where = _selection(places, all_, reason, stage, provider, link, since, until)
    settings = data_folder.settings()
    cluster, codecs = settings.cluster(), wiring.codecs(settings)
    known = resolution.read(cluster, codecs)
    resolve = context.info_name == "resolve"
    markable = known.is_open if resolve else known.mark_of
    dead_letters = list(filter(markable, reader.dead_letters(cluster, where)))

    def publish() -> int:
        mark = Mark(resolve, by or user(), micros_now(), note)
        resolution.mark_all(cluster, codecs, dead_letters, mark)
        return len(dead_letters)

    selection = marking.Selection(
        noun=_NOUN,
        count=len(dead_letters),
        named=len(where.places),
        mark=publish,
        lines=_lines(dead_letters),
        details={"reasons": _reasons(dead_letters)},
    )
    marking.mark(str(context.info_name), selection, dry_run=dry_run, yes=yes, json=json)


def _selection(places: Sequence[str] | None, all_: bool, *conditions: str | None) -> "Filter":
    """The filter for named dead letters, for conditions, or for all. Raises BadParameter unless the
    user chose exactly one of these ways.
    """
    if bool(places) + (all_ or any(conditions)) != 1:
        raise typer.BadParameter(
            "name the dead letters, or choose some with --reason, --stage, --provider, --link, "
            "--since, --until, or all of them with --all"
        )
    return _filter(dict.fromkeys(places or ()), *conditions)


def _filter(places: Iterable[str], *conditions: str | None) -> "Filter":
    """The filter; `conditions` are reason, stage, provider, link, since and until."""
    from connectors.clock import micros_now
    from connectors.triage.dead_letter import BadPlace
    from connectors.triage.filter import BadTime, parse_filter

    names = ("reason", "stage", "provider", "link", "since", "until")
    parameters = {name: text for name, text in zip(names, conditions, strict=False) if text}
    try:
        return parse_filter(parameters, places, micros_now())
    except (BadPlace, BadTime) as error:
        raise typer.BadParameter(str(error)) from None


def _described(dead_letter: "DeadLetter", known: "Resolutions | None" = None) -> dict[str, Any]:
    headers = readable_headers(dead_letter.headers)
    replay = known and known.replay_of(dead_letter)
    mark = known and known.mark_of(dead_letter)
    return {
        "partition": dead_letter.place.partition,
        "offset": dead_letter.place.offset,
        "at": dead_letter.at,
        "key": readable(dead_letter.key),
        "headers": headers,
        "value": readable_body(dead_letter.body, headers),
        "replayed": replay and {"by": replay["by"], "at": replay["at"]},
        "resolved": mark and {"by": mark.by, "at": mark.at, "note": mark.note},
    }


def _table(rows: list[dict[str, Any]]) -> "Table":
    table = tables.grid("id", "time", "dead letter")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for row in rows:
        at = datetime.fromtimestamp(row["at"] // 1_000_000, UTC)
        headers = row["headers"]
        texts = [headers.get(name) for name in ("stage", "origin", "item")]
        where = tables.text("  ".join(filter(None, texts)))
        table.add_row(f"{row['partition']}/{row['offset']}", f"{at:%Y-%m-%d %H:%M:%SZ}", where)
        table.add_row("", "", tables.text(headers.get("reason") or "", "yellow"))
        if replay := row["replayed"]:
            table.add_row("", "", tables.text(f"replayed by {replay['by']}", "green"))
        if mark := row["resolved"]:
            note = f": {mark['note']}" if mark["note"] else ""
            table.add_row("", "", tables.text(f"resolved by {mark['by']}{note}", "green"))
    return table


def _lines(dead_letters: "Sequence[DeadLetter]") -> Iterator[str]:
    """The most frequent reasons, with the topics the dead letters came from."""
    reasons = _reasons(dead_letters)
    for row in reasons[:_SHOWN_REASONS]:
        yield f"{row['count']:7}  {row['topic']}  {row['reason']}"
    if len(reasons) > _SHOWN_REASONS:
        yield f"         and {len(reasons) - _SHOWN_REASONS} other reasons"


def _reasons(dead_letters: "Sequence[DeadLetter]") -> list[dict[str, Any]]:
    counts = Counter((one.topic, one.reason) for one in dead_letters)
    return [
        {"topic": topic, "reason": reason, "count": count}
        for (topic, reason), count in counts.most_common()
    ]
