"""The commands that talk to a running system: `send`, `status`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    json: Annotated[
        bool, typer.Option("--json", help="The board's answer, with its `order`, on one line.")
    ] = False,
) -> None:
    """Draws a link's life, from the first word of it to its settlement; asks the board.

    Each line: when we learned of it, how long after the first, what, from whom, in which words.
    `>` marks what raised the status. What is `verified` was signed, or said by the provider's own
    API on our asking; a `claim` is neither.
    """
    from urllib.parse import quote

    from streams import running
    from streams.cli import drawing, life
    from streams.cli.asking import Board
    from streams.cli.errors import Failed
    from streams.cli.terminal import as_json

    _known(provider)
    with Board(running.settings()) as board:
        link = board.get(f"/links/{provider}/{quote(link_id, safe='')}")
        if link is None:
            raise Failed(
                f"nothing is known of {provider} link {link_id}",
                "`linkstatus links list` shows the newest",
            )
        order = board.get(f"/orders/{provider}/{quote(link['order_id'], safe='')}")
    if json:
        print(as_json({**link, "order": order}))
    else:
        drawing.console().print(life.drawn(link, order))


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
