"""Arguments and options that several commands share."""

from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from schemas.limits import FILE_BYTES, PRINTED_ROWS
from streams.cli import completion
from streams.local import data_folder

if TYPE_CHECKING:
    from connectors.providers.base import Provider as ProviderOf
    from streams.settings import Settings


def known_provider(provider: str | None) -> str | None:
    """Return the name of a connection. Raises BadParameter for another name."""
    if provider is not None:
        known = data_folder.settings().known_connections()
        if provider not in known:
            raise typer.BadParameter(f"{provider} is not one of {', '.join(known)}")
    return provider


def connection(settings: "Settings", name: str) -> "ProviderOf":
    """Return a connection that exists here. Raises BadParameter."""
    providers = settings.existing_providers()
    if name not in providers:
        raise typer.BadParameter(f"{name} does not exist here, see LINKSTATUS_PROVIDERS")
    return providers[name]


def check_period(start: date, end: date, today: date, names: tuple[str, str]) -> None:
    """Raise BadParameter unless the days from `start` to `end`, exclusive, are some, and none in
    the future. `names` are those of the two options.
    """
    if end <= start:
        raise typer.BadParameter(f"{names[1]} {end} is not after {names[0]} {start}")
    if end > today + timedelta(days=1):
        raise typer.BadParameter(f"{names[1]} {end} is in the future: today is {today} (UTC)")


def content_of(file: Path) -> bytes:
    """Return the bytes of a file. Raises BadParameter."""
    try:
        if file.is_file() and file.stat().st_size > FILE_BYTES:
            raise typer.BadParameter(f"{file} is larger than {FILE_BYTES >> 20} MiB: divide it")
        return file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from None


def missing_credentials(name: str, provider: "ProviderOf") -> str:
    """Say which settings a call of the provider's API needs."""
    needed = (f"LINKSTATUS_{name.upper()}__{one.upper()}" for one in provider.CREDENTIALS)
    return f"no credentials: set {', '.join(needed)}"


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
Since = Annotated[
    str, typer.Option(help="Not older: 2h, 3d, 2030-01-31 (UTC), or a time in RFC 3339.")
]
Until = Annotated[str, typer.Option(help="Older: 2h, 3d, 2030-01-31 (UTC), or a time in RFC 3339.")]
Limit = Annotated[int, typer.Option(min=1, max=PRINTED_ROWS, help="At most this many.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
OneJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
By = Annotated[str, typer.Option(help="Who does it; default: you on this machine.")]
Note = Annotated[str, typer.Option(help="Why, in a few words.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what it would change.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
