"""Arguments and options that several commands share."""

from typing import Annotated, Literal

import typer

from streams.cli import completion
from streams.local import data_folder


def known_provider(provider: str | None) -> str | None:
    """Return the name of a connection. Raises BadParameter for another name."""
    if provider is not None:
        known = data_folder.settings().known_connections()
        if provider not in known:
            raise typer.BadParameter(f"{provider} is not one of {', '.join(known)}")
    return provider


Provider = Annotated[
    str,
    typer.Argument(
        help="ping, peach, truelayer, ipint, or the name of a further account.",
        autocompletion=completion.providers,
        callback=known_provider,
    ),
]
OfProvider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        help="Only this provider's, or this account's.",
        autocompletion=completion.providers,
        callback=known_provider,
    ),
]
Show = Annotated[
    Literal["open", "resolved", "all"], typer.Option(help="Only open ones, resolved ones, or all.")
]
OfLink = Annotated[str, typer.Option("--link", help="Only the link of this id.")]
Since = Annotated[str, typer.Option(help="Not older: 2h, 3d, or a time in RFC 3339.")]
Until = Annotated[str, typer.Option(help="Older: 2h, 3d, or a time in RFC 3339.")]
Limit = Annotated[int, typer.Option(min=1, help="At most this many.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
OneJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
By = Annotated[str, typer.Option(help="Who does it; default: you on this machine.")]
Note = Annotated[str, typer.Option(help="Why, in a few words.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what it would change.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
