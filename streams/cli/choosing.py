"""Which dead letters are meant, as a command is told; and how many they are, as it tells."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

if TYPE_CHECKING:
    from collections import Counter

    from connectors.letters.letter import Letter, Wanted

P = ParamSpec("P")

_SHOWN_REASONS = 10

Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
By = Annotated[str, typer.Option(help="Who asks; default: you on this machine.")]
Note = Annotated[str, typer.Option(help="Why, in a few words.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say which it would be.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
_Where = Annotated[list[str] | None, typer.Argument(help="PARTITION/OFFSET …")]
_All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]
_Reason = Annotated[str, typer.Option(help="A part of the reason, in any case.")]
_Stage = Annotated[str, typer.Option(help="The stage that gave up on it.")]
_Provider = Annotated[str, typer.Option(help="ping, peach, …")]
_Link = Annotated[str, typer.Option(help="The id of its link.")]
_Since = Annotated[str, typer.Option(help="Not older: 2h, 3d, or a time in RFC 3339.")]
_Until = Annotated[str, typer.Option(help="Older: 2h, 3d, or a time in RFC 3339.")]


def _described(
    reason: _Reason = "",
    stage: _Stage = "",
    provider: _Provider = "",
    link: _Link = "",
    since: _Since = "",
    until: _Until = "",
) -> "Wanted":
    """Those that the options describe; without any, all."""
    said = {"reason": reason, "stage": stage, "provider": provider}
    return understood((), {**said, "link": link, "since": since, "until": until})


def _chosen(where: _Where = None, all_: _All = False, **said: str) -> "Wanted":
    """Those that are named, or some that the options describe."""
    if bool(where) + (all_ or any(said.values())) != 1:
        raise typer.BadParameter(
            "name the dead letters, or choose some with --reason, --stage, --provider, "
            "--link, --since, --until, or all of them with --all"
        )
    return understood(where or (), said)


def describing(command: Callable[Concatenate["Wanted", P], None]) -> Callable[..., None]:
    """The command with options that describe dead letters in place of its first parameter."""
    return _told(command, _described, _DESCRIBING)


def choosing(command: Callable[Concatenate["Wanted", P], None]) -> Callable[..., None]:
    """The same, with arguments that name them, and --all: something has to be said."""
    naming = [p for p in _parameters(_chosen) if p.kind is not p.VAR_KEYWORD]
    return _told(command, _chosen, [*naming, *_DESCRIBING])


def _told(
    command: Callable[..., None],
    wanted: Callable[..., "Wanted"],
    options: Sequence[inspect.Parameter],
) -> Callable[..., None]:
    names = [option.name for option in options]

    @wraps(command)
    def told(**given: Any) -> None:
        command(wanted(**{name: given.pop(name) for name in names}), **given)

    # What Typer reads a command's options from.
    _, *own = _parameters(command)
    parameters = [*options, *own]
    told.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    told.__annotations__ = {one.name: one.annotation for one in parameters}
    return told


def _parameters(of: Callable[..., object]) -> list[inspect.Parameter]:
    return list(inspect.signature(of).parameters.values())


_DESCRIBING = _parameters(_described)


def understood(where: Sequence[str], said: Mapping[str, str]) -> "Wanted":
    """Which are meant by these words. Raises BadParameter."""
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


def tell(chosen: "Sequence[Letter]", none: str = "no dead letter to replay") -> None:
    """How many there are, from where and why."""
    from connectors.board.words import many
    from streams.cli.terminal import harmless, say

    say(many(len(chosen), "dead letter") if chosen else none)
    reasons = _reasons(chosen)
    for (topic, reason), count in reasons.most_common(_SHOWN_REASONS):
        say(harmless(f"{count:7}  {topic}  {reason}"))
    if len(reasons) > _SHOWN_REASONS:
        say(f"         and {len(reasons) - _SHOWN_REASONS} other reasons")


def counted(chosen: "Sequence[Letter]", **done: int) -> dict[str, object]:
    """The same for a program, with what was `done`."""
    reasons = _reasons(chosen).items()
    rows = [{"to": to, "reason": why, "number": count} for (to, why), count in reasons]
    return {"chosen": len(chosen), **done, "reasons": rows}


def _reasons(chosen: "Sequence[Letter]") -> "Counter[tuple[str, str]]":
    from collections import Counter

    return Counter((letter.topic, letter.reason) for letter in chosen)
