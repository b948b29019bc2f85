"""The commands that talk to a running system: `send`, `status`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import completing

if TYPE_CHECKING:
    from connectors.sandbox.send import Post, Reply

_Provider = Annotated[
    str,
    typer.Argument(help="ping, peach, truelayer or ipint.", autocompletion=completing.providers),
]


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Use")(send)
    app.command(rich_help_panel="Use")(status)


def send(
    provider: _Provider,
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Bodies; - is stdin."),
    ] = None,
    example: Annotated[
        list[str] | None,
        typer.Option(
            help="One of the provider's own, by name; or several.",
            autocompletion=completing.examples,
        ),
    ] = None,
    examples: Annotated[bool, typer.Option("--examples", help="Only list their names.")] = False,
    repeat: Annotated[int, typer.Option(min=1, help="Send each so often.")] = 1,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="In any order.")] = False,
    seed: Annotated[int | None, typer.Option(help="The same seed shuffles the same way.")] = None,
    delay: Annotated[float, typer.Option(min=0, help="Seconds between two.")] = 0.0,
    to: Annotated[
        str | None, typer.Option(metavar="URL", help="Your own receiver instead of our edge.")
    ] = None,
    signed_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The URL that is signed, if not the one called."),
    ] = None,
    token: Annotated[str | None, typer.Option(help="The secret part of the callback URL.")] = None,
    content_type: Annotated[str | None, typer.Option(help="Default: by the body's look.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON object for each callback.")
    ] = False,
) -> None:
    """Posts callbacks as the provider would, signed where it signs.

    With the secret that is set, else with the sandbox's: `linkstatus sandbox env` prints what a
    receiver needs to judge those. Ends with 1 unless each is acknowledged, by what that provider
    takes for it.

        linkstatus send ping --example completed
        linkstatus send peach body.json other.json --repeat 5 --shuffle
        linkstatus send ipint --example completed --to http://127.0.0.1:3000/ipint
    """
    from random import Random

    from connectors import examples as ours
    from streams import running, wiring
    from streams.cli.errors import Failed
    from streams.cli.terminal import as_json, harmless

    _known(provider)
    if examples:
        names = ours.names(provider)
        print(as_json(names) if json else "\n".join(names))
        return
    posts = _posts(provider, files or [], example or [], content_type)
    chance = Random(seed) if shuffle or seed is not None else None  # noqa: S311 - a way to try
    sending = wiring.Sending(posts, repeat, chance, delay, token, to, signed_url)
    width = max(len(post.name) for post in posts)
    refused: list[Reply] = []

    def tell(reply: "Reply") -> None:
        if not reply.acknowledged:
            refused.append(reply)
        took = f"{reply.seconds * 1000:6.0f} ms"
        said = "" if reply.acknowledged else f"  {reply.said}".rstrip()
        line = f"{reply.name:{width}} {took}  {reply.status or 'no answer'}{said}"
        print(as_json(reply._asdict()) if json else harmless(line), flush=True)

    wiring.send(running.settings(), provider, sending, tell)
    if refused:
        total = len(posts) * repeat
        raise Failed(f"{len(refused)} of {total} not acknowledged", _hint(provider, refused, to))


def _hint(provider: str, refused: list["Reply"], to: str | None) -> str | None:
    if to or not any(reply.status == 401 for reply in refused):
        return None
    name = provider.upper()
    return (
        f"401 is a wrong signature or a wrong path: LINKSTATUS_{name}__… must be as at the edge, "
        f"and --token or LINKSTATUS_{name}__PATH_TOKEN the token of its URL"
    )


def status(
    provider: _Provider,
    link_id: Annotated[str, typer.Argument(help="The provider's id of the link.")],
    json: Annotated[
        bool, typer.Option("--json", help="The board's answer, with its `order`, on one line.")
    ] = False,
) -> None:
    """Draws a link's life, from the first word of it to its settlement.

    Each line: when we learned of it, how long after the first, what, from whom, in which words.
    `>` marks what raised the status. What is `verified` was signed, or said by the provider's own
    API on our asking; a `claim` is neither.

        linkstatus status ping a25cdd3b-f95f-4861-87e4-1ca0a6be748e
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


def _posts(
    provider: str, files: list[Path], named: list[str], content_type: str | None
) -> list["Post"]:
    from connectors import examples
    from connectors.sandbox.send import Post

    if not (files or named):
        known = ", ".join(examples.names(provider))
        raise typer.BadParameter(f"name files, or --example with one of {known}")
    posts = []
    for file in files:
        if str(file) != "-" and not file.is_file():
            raise typer.BadParameter(f"there is no file {file}")
        body = typer.get_binary_stream("stdin").read() if str(file) == "-" else file.read_bytes()
        looks = "application/json" if body.lstrip()[:1] in b"{[" else _FORM
        posts.append(Post(file.name, body, content_type or looks))
    for name in named:
        try:
            kind = examples.content_type(provider, name)
        except KeyError as error:
            raise typer.BadParameter(str(error.args[0])) from None
        posts.append(Post(name, examples.body(provider, name), content_type or kind, name))
    return posts


_FORM = "application/x-www-form-urlencoded"
