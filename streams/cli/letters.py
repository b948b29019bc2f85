"""`linkstatus dead-letters`: what no rule understood, found again and published once more."""

from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import asides
from streams.cli.choosing import By, Json, Yes, choosing, counted, describing, tell, understood

if TYPE_CHECKING:
    from connectors.letters.letter import Letter, Wanted
    from connectors.noting import Mark

dead_letters = typer.Typer(help="What no rule understood, with its reason.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    asides.add_to(dead_letters)
    app.add_typer(dead_letters, name="dead-letters", rich_help_panel="Look")


@dead_letters.command("list")
@describing
def list_(
    wanted: "Wanted",
    open_: Annotated[
        bool, typer.Option("--open", help="Only those nobody has replayed or set aside.")
    ] = False,
    json: Json = False,
) -> None:
    """The dead letters, oldest first in each partition, and who has replayed them or set them
    aside.
    """
    from datetime import UTC, datetime

    from connectors.letters import dealt, reading
    from streams import running, schema_ids
    from streams.cli.terminal import as_json, harmless, say

    settings = running.settings()
    cluster = settings.cluster()
    schema_ids.read(cluster, settings.schema_registry_url)
    known = dealt.read(cluster)
    found = 0
    for letter in reading.letters(cluster, wanted):
        if open_ and not known.is_open(letter):
            continue
        aside = known.mark_of(letter)
        line = _described(letter, known.replay_of(letter), aside)
        why = f"{letter.header('stage')}  {letter.header('origin')}  {letter.reason}"
        mark = f"  (replayed by {line['replayed_by']})" if line["replayed_by"] else ""
        if aside:
            mark += f"  (set aside by {aside.by}{aside.note and ': '}{aside.note})"
        at = f"{datetime.fromtimestamp(letter.at // 1_000_000, UTC):%Y-%m-%d %H:%M:%SZ}"
        print(as_json(line) if json else harmless(f"{letter.place}  {at}  {why}{mark}"))
        found += 1
    if not found:
        say("none")


@dead_letters.command()
def show(
    where: Annotated[str, typer.Argument(help="PARTITION/OFFSET, as `list` shows it.")],
    json: Json = False,
) -> None:
    """One dead letter: its headers, and its bytes as they are; on a terminal what would command it
    is shown as an escape.
    """
    import sys

    from connectors.letters import reading
    from streams import running
    from streams.cli.terminal import as_json, harmless, is_terminal

    (letter,) = reading.letters(running.settings().cluster(), understood([where], {}))
    if json:
        print(as_json(_described(letter, None, None)))
        return
    for name, value in letter.headers:
        print(harmless(f"{name}: {(value or b'').decode(errors='replace')}"))
    print(flush=True)
    body = letter.body or b""
    if is_terminal():  # whoever sent it could command it
        text = body.decode(errors="backslashreplace")
        print(*map(harmless, text.split("\n")), sep="\n")
        return
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


@dead_letters.command()
@choosing
def replay(
    wanted: "Wanted",
    again: Annotated[
        bool, typer.Option(help="Those, too, that somebody has replayed already.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be replayed.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="At most so many a second.")] = 50.0,
    by: By = "",
    yes: Yes = False,
    json: Annotated[
        bool, typer.Option("--json", help="One object: how many, from where and why.")
    ] = False,
) -> None:
    """Publishes dead letters once more to the topics they came from, as received.

    They pass the same way as the first time, with source=replay. Who asked and when is kept on the
    topic `replays`. Says how many there are, and asks first, unless each is named. What is set
    aside is left out, unless it is named.
    """
    from connectors.letters.replay import chosen, replay
    from streams import running, schema_ids
    from streams.cli.terminal import as_json, counting, say, somebody

    settings = running.settings()
    schema_ids.prepare(settings)
    cluster = settings.cluster()
    letters = chosen(cluster, wanted, again=again or bool(wanted.places))
    tell(letters)
    if dry_run or not letters:
        if json:
            print(as_json(counted(letters, published=0)))
        return
    if not (wanted.places or yes):
        typer.confirm(f"replay {len(letters)}?", abort=True, err=True)
    with counting("replaying", len(letters)) as done:
        sent = replay(cluster, letters, by or somebody(), per_second=rate, done=done)
    for topic, count in sent.items():
        say(f"{topic}: {count} published again")
    if json:
        print(as_json(counted(letters, published=sent.total())))


def _described(letter: "Letter", replayed: object, aside: "Mark | None") -> dict[str, object]:
    from streams.cli.terminal import readable

    again = replayed if isinstance(replayed, dict) else {}
    return {
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "at": letter.at,
        "key": readable(letter.key),
        "headers": {name: readable(value) for name, value in letter.headers},
        "value": readable(letter.body),
        "replayed_by": again.get("by"),
        "replayed_at": again.get("at"),
        "aside": aside and {"by": aside.by, "at": aside.at, "note": aside.note},
    }
