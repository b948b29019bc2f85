"""The commands that run things."""

from pathlib import Path
from typing import Annotated

import typer

Port = Annotated[int | None, typer.Option(help="HTTP port; default: the setting HTTP__PORT.")]


def add_to(app: typer.Typer) -> None:
    for command in (up, receive, work, lookup, settle, board, web):
        app.command(rich_help_panel="Run")(command)
    app.add_typer(sandbox, name="sandbox", rich_help_panel="Run")


def up(
    port: Annotated[int | None, typer.Option(help="Port of the edge and the board.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
    no_sandbox: Annotated[bool, typer.Option(help="Without the simulated providers.")] = False,
    seconds: Annotated[float | None, typer.Option("--for", hidden=True)] = None,
) -> None:
    """Everything at once, on an embedded Apache Kafka unless BROKERS is set. Ctrl-C ends it."""
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
) -> None:
    """The four providers, simulated: APIs, signatures, retries and disorder."""
    from streams import running, wiring

    if context.invoked_subcommand is None:
        settings = running.settings()
        if port is not None:
            settings.sandbox.port = port
        wiring.sandbox(settings)


@sandbox.command()
def play(
    links: Annotated[int, typer.Option(min=1, max=10_000, help="How many.")] = _LINKS,
    seed: Annotated[int, typer.Option(help="The same seed plays the same lives.")] = 1,
    wait: Annotated[float, typer.Option(help="Seconds to wait for agreement.")] = _WAIT_SECONDS,
) -> None:
    """Lives whole lives of links at the four providers and compares the board with the outcome.

    Callbacks come late, repeated and out of order. Needs a running `linkstatus up`.
    """
    from rich.console import Console
    from rich.table import Table

    from streams import running, wiring
    from streams.cli.terminal import Failed, say

    say(f"playing {links} links with seed {seed} …")
    result = wiring.play(running.settings(), links, seed, wait)
    table = Table("", "provider")
    for heading in ("link or order", "must be", "is"):
        table.add_column(heading, overflow="fold")
    for row in result.rows:
        mark = "✓" if row.agrees else "✗"
        table.add_row(mark, row.provider, f"{row.kind[:-1]} {row.id}", row.expected, row.seen)
    Console().print(table)
    agreeing = sum(row.agrees for row in result.rows)
    say(f"{agreeing} of {len(result.rows)} agree after {result.seconds:.1f} s")
    if not result.agrees:
        raise Failed(f"the board does not agree; {result.undelivered} callbacks undelivered")


@sandbox.command("env")
def environment() -> None:
    """Prints the variables that point the other processes at this sandbox. They hold secrets."""
    from shlex import quote

    from connectors.registry import PROVIDERS
    from streams import running, wiring

    for name, value in wiring.sandbox_environment(running.settings(), PROVIDERS).items():
        print(f"export {name}={quote(value)}")
