"""`linkstatus dead-letters`: what no rule understood, found again and published once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.letters.letter import Letter, Wanted

dead_letters = typer.Typer(help="What no rule understood, with its reason.", no_args_is_help=True)

_SHOWN_REASONS = 10

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Reason = Annotated[str, typer.Option(help="A part of the reason, in any case.")]
Stage = Annotated[str, typer.Option(help="The stage that gave up on it.")]
Provider = Annotated[str, typer.Option(help="ping, peach, …")]
Link = Annotated[str, typer.Option(help="The id of its link.")]
Since = Annotated[str, typer.Option(help="Not older: 2h, 3d, or a time in RFC 3339.")]
Until = Annotated[str, typer.Option(help="Older: 2h, 3d, or a time in RFC 3339.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(dead_letters, name="dead-letters", rich_help_panel="Look")


@dead_letters.command("list")
def list_(
    reason: Reason = "",
    stage: Stage = "",
    provider: Provider = "",
    link: Link = "",
    since: Since = "",
    until: Until = "",
    json: Json = False,
) -> None:
    """The dead letters, oldest first in each partition, and who has replayed them when."""
    from datetime import UTC, datetime

    from connectors.letters import reading
    from streams import running, schema_ids
    from streams.cli.terminal import as_json, harmless, say

    wanted = _wanted((), _narrowing(reason, stage, provider, link, since, until))
    settings = running.settings()
    cluster = settings.cluster()
    schema_ids.read(cluster, settings.schema_registry_url)
    replayed = {replay["letter"]: replay for replay in reading.replays(cluster)}
    found = 0
    for letter in reading.letters(cluster, wanted):
        line = _described(letter, replayed.get(letter.name))
        why = f"{letter.header('stage')}  {letter.header('origin')}  {letter.reason}"
        mark = f"  (replayed by {line['replayed_by']})" if letter.name in replayed else ""
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

    (letter,) = reading.letters(running.settings().cluster(), _wanted([where], {}))
    if json:
        print(as_json(_described(letter, None)))
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
def replay(
    where: Annotated[list[str] | None, typer.Argument(help="PARTITION/OFFSET …")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every dead letter.")] = False,
    reason: Reason = "",
    stage: Stage = "",
    provider: Provider = "",
    link: Link = "",
    since: Since = "",
    until: Until = "",
    again: Annotated[
        bool, typer.Option(help="Those, too, that somebody has replayed already.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be replayed.")] = False,
    rate: Annotated[float, typer.Option(min=0.1, help="At most so many a second.")] = 50.0,
    by: Annotated[str, typer.Option(help="Who asks; default: you on this machine.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One object: how many, from where and why.")
    ] = False,
) -> None:
    """Publishes dead letters once more to the topics they came from, as received.

    They pass the same way as the first time, with source=replay. Who asked and when is kept on the
    topic `replays`. Says how many there are, and asks first, unless each is named.
    """
    from connectors.letters.replay import chosen, replay
    from streams import running, schema_ids
    from streams.cli.terminal import as_json, counting, say, somebody

    narrowing = _narrowing(reason, stage, provider, link, since, until)
    if bool(where) + (all_ or any(narrowing.values())) != 1:
        raise typer.BadParameter(
            "name the dead letters to replay, or choose some with --reason, --stage, --provider, "
            "--link, --since, --until, or all of them with --all"
        )
    wanted = _wanted(where or (), narrowing)
    settings = running.settings()
    schema_ids.prepare(settings)
    cluster = settings.cluster()
    letters = chosen(cluster, wanted, again=again or bool(where))
    _tell(letters)
    if dry_run or not letters:
        if json:
            print(as_json(_counted(letters, 0)))
        return
    if not (where or yes):
        typer.confirm(f"replay {len(letters)}?", abort=True, err=True)
    with counting("replaying", len(letters)) as done:
        sent = replay(cluster, letters, by or somebody(), per_second=rate, done=done)
    for topic, count in sent.items():
        say(f"{topic}: {count} published again")
    if json:
        print(as_json(_counted(letters, sent.total())))


def _tell(chosen: Sequence[Letter]) -> None:
    """How many there are, from where and why."""
    from collections import Counter

    from streams.cli.terminal import harmless, say

    say(f"{len(chosen)} dead letters" if chosen else "no dead letter to replay")
    reasons = Counter((letter.topic, letter.reason) for letter in chosen)
    for (topic, reason), count in reasons.most_common(_SHOWN_REASONS):
        say(harmless(f"{count:7}  {topic}  {reason}"))
    if len(reasons) > _SHOWN_REASONS:
        say(f"         and {len(reasons) - _SHOWN_REASONS} other reasons")


def _counted(chosen: Sequence[Letter], published: int) -> dict[str, object]:
    from collections import Counter

    reasons = Counter((letter.topic, letter.reason) for letter in chosen)
    rows = [{"to": to, "reason": why, "number": count} for (to, why), count in reasons.items()]
    return {"chosen": len(chosen), "published": published, "reasons": rows}


def _wanted(where: Sequence[str], said: Mapping[str, str]) -> Wanted:
    from connectors.clock import micros_now
    from connectors.letters.meant import NotUnderstood, meant
    from connectors.registry import PROVIDERS

    provider = said.get("provider")
    if provider and provider not in PROVIDERS:
        raise typer.BadParameter(f"{provider} is not one of {', '.join(PROVIDERS)}")
    try:
        return meant(said, where, micros_now())
    except NotUnderstood as error:
        raise typer.BadParameter(str(error)) from None


def _narrowing(
    reason: str, stage: str, provider: str, link: str, since: str, until: str
) -> dict[str, str]:
    return {
        "reason": reason,
        "stage": stage,
        "provider": provider,
        "link": link,
        "since": since,
        "until": until,
    }


def _described(letter: Letter, replayed: object) -> dict[str, object]:
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
    }
