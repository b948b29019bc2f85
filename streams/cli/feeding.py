"""The commands that talk to a running system: `send`, `status`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streams.wiring import Callback

_Provider = Annotated[str, typer.Argument(help="ping, peach, truelayer or ipint.")]


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Use")(send)
    app.command(rich_help_panel="Use")(status)


def send(
    provider: _Provider,
    file: Annotated[Path | None, typer.Argument(help="The body; - is standard input.")] = None,
    example: Annotated[
        str | None, typer.Option(help="One of the provider's own examples, by name.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Send it so often.")] = 1,
    token: Annotated[str | None, typer.Option(help="The secret part of the callback URL.")] = None,
    content_type: Annotated[str | None, typer.Option(help="Default: by the body's look.")] = None,
) -> None:
    """Posts a callback to the edge, signed where the provider signs: with the secret that is set,
    else with the sandbox's.
    """
    from streams import running, wiring
    from streams.cli.terminal import Failed

    _known(provider)
    callback = _callback(provider, file, example, content_type)._replace(repeat=repeat)
    for code in (answers := wiring.send(running.settings(), provider, callback, token)):
        print(code)
    if any(code != 200 for code in answers):
        raise Failed("not acknowledged")


def status(
    provider: _Provider,
    link_id: Annotated[str, typer.Argument(help="The provider's id of the link.")],
    json: Annotated[bool, typer.Option("--json", help="As the board answers.")] = False,
) -> None:
    """What is known of a link, with its timeline; asks the board."""
    from urllib.parse import quote

    import httpx

    from streams import running
    from streams.cli.terminal import Failed

    _known(provider)
    settings = running.settings()
    token = settings.board.token
    answer = httpx.get(
        f"{settings.edge_url}/links/{provider}/{quote(link_id, safe='')}",
        headers={"authorization": f"Bearer {token.get_secret_value()}"} if token else {},
        timeout=10.0,
        trust_env=False,
    )
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise Failed(f"nothing is known of {provider} link {link_id}")
    answer.raise_for_status()
    print(answer.text.strip() if json else _shown(answer.json()))


def _known(provider: str) -> None:
    from connectors.registry import PROVIDERS

    if provider not in PROVIDERS:
        raise typer.BadParameter(f"{provider} is not one of {', '.join(PROVIDERS)}")


def _callback(
    provider: str, file: Path | None, example: str | None, content_type: str | None
) -> "Callback":
    from connectors import examples
    from streams.cli.terminal import Failed
    from streams.wiring import Callback

    if (file is None) == (example is None):
        raise Failed(f"name a file, or --example with one of {', '.join(examples.names(provider))}")
    if file is not None:
        body = typer.get_binary_stream("stdin").read() if str(file) == "-" else file.read_bytes()
        looks = "application/json" if body.lstrip()[:1] in b"{[" else _FORM
        return Callback(body, content_type or looks)
    try:
        kind = examples.content_type(provider, example or "")
    except KeyError as error:
        raise Failed(str(error.args[0])) from None
    return Callback(examples.body(provider, example or ""), content_type or kind, example)


_FORM = "application/x-www-form-urlencoded"


def _shown(link: dict[str, Any]) -> str:
    """The status as a table of its fields, then the timeline."""
    from streams.cli.terminal import harmless

    timeline, _ = link.pop("timeline"), link.pop("anomaly_details")
    lines = [
        f"{name:18} {_plain(value)}" for name, value in link.items() if value not in (None, [], {})
    ]
    for event in timeline:
        trust = "verified" if event.get("verified") else "claimed"
        lines.append(
            f"  {event.get('received_at')}  {event.get('status'):10}  {trust:8}"
            f"  {event.get('source')}  {event.get('provider_status')}"
        )
    return "\n".join(map(harmless, lines))


def _plain(value: Any) -> str:
    from streams.cli.terminal import as_json

    return value if isinstance(value, str) else as_json(value)
