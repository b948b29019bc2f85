"""Which dead letters are meant, as a command is told; and how many they are, as it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.letters.letter import Letter, Wanted

_SHOWN_REASONS = 10

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Reason = Annotated[str, typer.Option(help="A part of the reason, in any case.")]
Stage = Annotated[str, typer.Option(help="The stage that gave up on it.")]
Provider = Annotated[str, typer.Option(help="ping, peach, …")]
Link = Annotated[str, typer.Option(help="The id of its link.")]
Since = Annotated[str, typer.Option(help="Not older: 2h, 3d, or a time in RFC 3339.")]
Until = Annotated[str, typer.Option(help="Older: 2h, 3d, or a time in RFC 3339.")]
Where = Annotated[list[str] | None, typer.Argument(help="PARTITION/OFFSET …")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]
By = Annotated[str, typer.Option(help="Who asks; default: you on this machine.")]
Note = Annotated[str, typer.Option(help="Why, in a few words.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which it would be.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def tell(chosen: Sequence[Letter], none: str = "no dead letter to replay") -> None:
    """How many there are, from where and why."""
    from collections import Counter

    from connectors.board.words import many
    from streams.cli.terminal import harmless, say

    say(many(len(chosen), "dead letter") if chosen else none)
    reasons = Counter((letter.topic, letter.reason) for letter in chosen)
    for (topic, reason), count in reasons.most_common(_SHOWN_REASONS):
        say(harmless(f"{count:7}  {topic}  {reason}"))
    if len(reasons) > _SHOWN_REASONS:
        say(f"         and {len(reasons) - _SHOWN_REASONS} other reasons")


def counted(chosen: Sequence[Letter], **done: int) -> dict[str, object]:
    from collections import Counter

    reasons = Counter((letter.topic, letter.reason) for letter in chosen)
    rows = [{"to": to, "reason": why, "number": count} for (to, why), count in reasons.items()]
    return {"chosen": len(chosen), **done, "reasons": rows}


def which(where: Sequence[str] | None, all_: bool, said: Mapping[str, str]) -> Wanted:
    """Which are meant: those that are named, or some that were described."""
    if bool(where) + (all_ or any(said.values())) != 1:
        raise typer.BadParameter(
            "name the dead letters, or choose some with --reason, --stage, --provider, "
            "--link, --since, --until, or all of them with --all"
        )
    return understood(where or (), said)


def understood(where: Sequence[str], said: Mapping[str, str]) -> Wanted:
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


def narrowing(
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
