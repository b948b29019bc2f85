"""The commands that run things."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from connectors.sandbox.play import PlayResult

Port = Annotated[int | None, typer.Option(help="HTTP port; default: the setting HTTP__PORT.")]


def add_to(app: typer.Typer) -> None:
    for command in (up, receive, work, lookup, settle, board, web):
        app.command(rich_help_panel="Run")(command)
    app.add_typer(sandbox, name="sandbox", rich_help_panel="Run")


def up(
    port: Annotated[
        int | None, typer.Option(help="Port of the edge and the board; 0: all ports are free ones.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="Without the simulated providers.")
    ] = False,
    seconds: Annotated[float | None, typer.Option("--for", hidden=True)] = None,
) -> None:
    """Everything at once, on an embedded Apache Kafka unless BROKERS is set. Ctrl-C ends it.

    Other commands, in another terminal but the same folder, find what runs by themselves. Another
    installation beside it needs a port and a folder of its own:

        linkstatus up --port 8081 --data-dir /tmp/another
    """
    from streams import settings
    from streams.up import run

    overrides = {} if data_dir is None else {"data_dir": data_dir}
    run(settings.load(**overrides), port, with_sandbox=not no_sandbox, seconds=seconds)


def receive(port: Port = None) -> None:
    """The edge: takes callbacks and answers once they are on Kafka."""
    _wired("receive", port)


def work(port: Port = None) -> None:
    """The Faust worker: all agents and tables. Run as many as there are partitions."""
    _wired("work", port)


def lookup(port: Port = None) -> None:
    """Asks provider APIs, rate-limited, and publishes their answers."""
    _wired("lookup", port)


def settle(port: Port = None) -> None:
    """Performs CLOSE, SPLIT and SETTLE at Ping and reports back."""
    _wired("settle", port)


def board(port: Port = None) -> None:
    """The status of every link in SQL: query API and live page."""
    _wired("board", port)


def web(port: Port = None) -> None:
    """The edge and the board in one process on one port."""
    _wired("web", port)


def _wired(process: str, port: int | None) -> None:
    from streams import running, wiring

    settings = running.settings()
    if port is not None:
        settings.http.port = port
    wiring.reach(settings)
    getattr(wiring, process)(settings)


sandbox = typer.Typer()
_LINKS = 24
_WAIT_SECONDS = 120.0


@sandbox.callback(invoke_without_command=True)
def run_sandbox(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(help="Default: the setting SANDBOX__PORT.")] = None,
    callbacks_to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Call this receiver instead of our edge; {provider} in it is replaced.",
        ),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="60 makes seconds of a provider's minutes.")
    ] = None,
) -> None:
    """The four providers, simulated: APIs, signatures, retries and disorder.

    It can try a receiver of your own. `env` prints where the simulated APIs are, and the secrets
    that signatures are judged with:

        linkstatus sandbox --callbacks-to 'http://127.0.0.1:3000/hooks/{provider}'
        linkstatus sandbox env
        linkstatus sandbox play --links 50
    """
    from streams import running, wiring

    if context.invoked_subcommand is None:
        settings = running.settings()
        given = {"port": port, "callback_url": callbacks_to, "speed": speed}
        changes = {name: value for name, value in given.items() if value is not None}
        if callbacks_to is not None and not callbacks_to.startswith(("http://", "https://")):
            raise typer.BadParameter(f"{callbacks_to} is no http:// or https:// URL")
        settings.sandbox = settings.sandbox.model_copy(update=changes)
        wiring.sandbox(settings)


@sandbox.command()
def play(
    links: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = _LINKS,
    seed: Annotated[int, typer.Option(help="The same seed plays the same lives.")] = 1,
    wait: Annotated[float, typer.Option(help="Seconds to wait for agreement.")] = _WAIT_SECONDS,
    json: Annotated[
        bool, typer.Option("--json", help="One object: what must be known, and what is.")
    ] = False,
) -> None:
    """Lives whole lives of links at the four providers and compares the board with the outcome.

    Callbacks come late, repeated and out of order. Needs a running `linkstatus up`; or, for a
    receiver of your own, `linkstatus sandbox --callbacks-to URL`: then it says what must be known
    in the end, and whether all callbacks were acknowledged.

        linkstatus sandbox play --links 200 --seed 7
    """
    from streams import running, wiring
    from streams.cli.errors import Failed
    from streams.cli.terminal import say

    say(f"playing {links} links with seed {seed} …")
    result = wiring.play(running.settings(), links, seed, wait)
    _show(result, json)
    agreeing = sum(row.agrees for row in result.rows)
    if not result.elsewhere:
        say(f"{agreeing} of {len(result.rows)} agree after {result.seconds:.1f} s")
    elif not result.undelivered:
        say(f"all callbacks acknowledged after {result.seconds:.1f} s")
    if not result.agrees:
        disagreeing = "" if result.elsewhere else "the board does not agree; "
        raise Failed(f"{disagreeing}{result.undelivered} callbacks undelivered")


def _show(result: "PlayResult", json: bool) -> None:
    from dataclasses import asdict

    from streams.cli.drawing import console, grid, text
    from streams.cli.terminal import as_json

    if json:
        said = {
            "agrees": result.agrees,
            "undelivered": result.undelivered,
            "seconds": round(result.seconds, 3),
            "rows": [asdict(row) for row in result.rows],
            "must_be": {kind: result.planned[kind] for kind in ("links", "orders")},
        }
        print(as_json(said))
        return
    table = grid("", "provider", "link or order", "must be", *([] if result.elsewhere else ["is"]))
    table.columns[1].no_wrap = True
    for row in result.rows:
        cells = [text(row.provider), text(f"{row.kind[:-1]} {row.id}"), text(row.expected)]
        if result.elsewhere:
            table.add_row("", *cells)
        elif row.agrees:
            # What is as it must be needs no saying twice.
            seen = "" if row.seen == row.expected else row.seen
            table.add_row(text("✓", "green"), *cells, text(seen))
        else:
            table.add_row(text("✗", "bold red"), *cells, text(row.seen, "red"))
    console().print(table)


@sandbox.command("env")
def environment() -> None:
    """Prints the variables that point the other processes at this sandbox.

    They hold secrets: of nobody but the simulated providers, made for this data folder.

        linkstatus sandbox env > sandbox.env
    """
    from shlex import quote

    from connectors.registry import PROVIDERS
    from streams import running, wiring

    for name, value in wiring.sandbox_environment(running.settings(), PROVIDERS).items():
        print(f"export {name}={quote(value)}")
