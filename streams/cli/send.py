"""`linkstatus send`: post callbacks as a provider does."""

from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.limits import SENT_REPEATS
from streams.cli import completion
from streams.cli.arguments import Json, Provider
from streams.cli.errors import Failed
from streams.cli.terminal import output
from streams.local import data_folder

if TYPE_CHECKING:
    from connectors.sandbox.send import Post, Reply

_FORM = "application/x-www-form-urlencoded"


def send(
    provider: Provider,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files with the bodies; - is stdin.")
    ] = None,
    example: Annotated[
        list[str] | None,
        typer.Option(
            help="An example of this provider, by name; repeatable.",
            autocompletion=completion.examples,
        ),
    ] = None,
    examples: Annotated[bool, typer.Option("--examples", help="Only list the examples.")] = False,
    repeat: Annotated[
        int, typer.Option(min=1, max=SENT_REPEATS, help="Send each this many times.")
    ] = 1,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Send in random order.")] = False,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same order.")] = None,
    delay: Annotated[float, typer.Option(min=0, help="Seconds between two callbacks.")] = 0.0,
    to: Annotated[
        str | None, typer.Option(metavar="URL", help="Your own receiver instead of our edge.")
    ] = None,
    signed_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The URL to sign; default: the URL that is called."),
    ] = None,
    token: Annotated[str | None, typer.Option(help="The secret part of the callback URL.")] = None,
    content_type: Annotated[
        str | None, typer.Option(help="Default: guessed from the body.")
    ] = None,
    json: Json = False,
) -> None:
    """Post callbacks as the provider does, with its signature.

    The secret is the one in the settings, or else the sandbox's: `linkstatus sandbox env` prints it
    for your receiver. The exit code is 1 unless the receiver acknowledges each callback in the way
    the provider expects.

        linkstatus send ping --example completed
        linkstatus send peach body.json other.json --repeat 5 --shuffle
        linkstatus send ipint --example completed --to http://127.0.0.1:3000/ipint
    """
    from connectors.providers import examples as provider_examples
    from streams import wiring

    settings = data_folder.settings()
    kind = settings.known_connections()[provider]
    names = provider_examples.names(kind)
    if examples:
        output(json, names, *names)
        return
    posts = _files(files or [], content_type) + _examples(kind, example or [], content_type)
    if not posts:
        raise typer.BadParameter(f"name files, or --example with one of {', '.join(names)}")
    chance = Random(seed) if shuffle or seed is not None else None  # noqa: S311 (no secret)
    width = max(len(post.name) for post in posts)
    refused: list[Reply] = []

    def show(reply: "Reply") -> None:
        if not reply.acknowledged:
            refused.append(reply)
        output(json, reply._asdict(), _line(reply, width))

    wiring.send(
        settings,
        provider,
        posts,
        show,
        repeat=repeat,
        random=chance,
        delay=delay,
        token=token,
        to=to,
        signed_url=signed_url,
    )
    if refused:
        total = len(posts) * repeat
        raise Failed(f"{len(refused)} of {total} not acknowledged", _hint(provider, refused, to))


def _line(reply: "Reply", width: int) -> str:
    message = "" if reply.acknowledged else f"  {reply.message}".rstrip()
    milliseconds = f"{reply.seconds * 1000:6.0f} ms"
    return f"{reply.name:{width}} {milliseconds}  {reply.status or 'no answer'}{message}"


def _hint(provider: str, refused: list["Reply"], to: str | None) -> str | None:
    if to or not any(reply.status == 401 for reply in refused):
        return None
    name = provider.upper()
    return (
        f"401 means a wrong signature or path: set LINKSTATUS_{name}__… as at the edge, "
        f"and --token or LINKSTATUS_{name}__PATH_TOKEN to the token of its URL"
    )


def _files(files: list[Path], content_type: str | None) -> list["Post"]:
    from connectors.sandbox.send import Post

    posts = []
    for file in files:
        if str(file) != "-" and not file.is_file():
            raise typer.BadParameter(f"there is no file {file}")
        body = typer.get_binary_stream("stdin").read() if str(file) == "-" else file.read_bytes()
        guess = "application/json" if body.lstrip()[:1] in b"{[" else _FORM
        posts.append(Post(file.name, body, content_type or guess))
    return posts


def _examples(kind: str, names: list[str], content_type: str | None) -> list["Post"]:
    from connectors.providers import examples
    from connectors.sandbox.send import Post

    try:
        types = {name: content_type or examples.content_type(kind, name) for name in names}
    except KeyError as error:
        raise typer.BadParameter(str(error.args[0])) from None
    return [Post(name, examples.body(kind, name), types[name], name) for name in names]
