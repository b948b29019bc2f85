"""The commands that run processes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.limits import EDGE_PROCESSES
from streams.local import data_folder

if TYPE_CHECKING:
    from streams.settings import Settings

Port = Annotated[int | None, typer.Option(help="HTTP port; default: the setting HTTP__PORT.")]

# The processes and their help; streams/wiring.py runs them.
PROCESSES = {
    "receive": "Run the edge: take callbacks, answer once they are on Kafka.",
    "work": "Run the Faust worker: all agents and tables. Run at most one per partition.",
    "lookup": "Ask provider APIs, at a limited rate, and publish their answers.",
    "settle": "Perform CLOSE, SPLIT and SETTLE at Ping and report the results.",
    "notify": "Send events to your URLs as signed webhooks, in order, until they are accepted.",
    "board": "Run the board: the status of every link in SQL, query API and live page.",
    "web": "Run the edge and the board in one process on one port.",
}


def up(
    port: Annotated[
        int | None,
        typer.Option(help="Port of the edge and the board; 0: free ports for everything."),
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="The folder for all data.")] = None,
    no_sandbox: Annotated[
        bool, typer.Option("--no-sandbox", help="Without the simulated providers.")
    ] = False,
) -> None:
    """Run everything, on an embedded Apache Kafka unless BROKERS is set. Ctrl-C stops it.

    Commands in other terminals, started in the same folder, find the running system. A second
    system needs its own port and data folder:

        linkstatus up --port 8081 --data-dir /tmp/another
    """
    from streams import settings
    from streams.local.up import run

    overrides = {} if data_dir is None else {"data_dir": data_dir}
    run(settings.load(**overrides), port, with_sandbox=not no_sandbox)


def run(context: typer.Context, port: Port = None) -> None:
    """Run the process that has the command's name."""
    from streams import wiring

    wiring.run(context.command.name or "", _settings(port))


def receive(
    port: Port = None,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            max=EDGE_PROCESSES,
            help="Processes behind the port; at most one per core makes sense.",
        ),
    ] = 1,
    member: Annotated[
        str | None, typer.Option(hidden=True, help="What a process of several is given.")
    ] = None,
) -> None:
    """Run the edge, in one process or in several."""
    if member is not None:
        _run_member(member)
    elif processes > 1:
        from streams.local import edge

        edge.run(_settings(port), processes)
    else:
        from streams import wiring

        wiring.run("receive", _settings(port))


def _run_member(text: str) -> None:
    from connectors.receive.member import Member

    member = Member.parse(text)
    # The settings import metrics.
    member.share_metrics()
    from streams import wiring

    wiring.run("receive", _settings(None), member)


def _settings(port: int | None) -> "Settings":
    settings = data_folder.settings()
    if port is not None:
        settings.http.port = port
    return settings
