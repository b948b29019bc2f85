"""The commands, in the order of the help."""

from collections.abc import Callable
from typing import Annotated

import typer

from streams.cli import (
    anomalies,
    dead_letters,
    doctor,
    imports,
    links,
    orders,
    rebuild,
    reconcile,
    run,
    sandbox,
    schemas,
    send,
    status,
    tail,
    topics,
    verify,
)

app = typer.Typer(
    help="One trustworthy status per payment link, from the callbacks of many providers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        print(f"linkstatus {version('linkstatus')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None: ...


_PANELS: dict[str, tuple[typer.Typer | Callable[..., None], ...]] = {
    "Run": (sandbox.sandbox,),
    "Use": (
        send.send,
        status.status,
        links.links,
        orders.orders,
        reconcile.reconcile,
        imports.import_,
    ),
    "Look": (tail.tail, anomalies.anomalies, dead_letters.commands),
    "Care": (topics.topics, schemas.schemas, verify.verify, rebuild.rebuild, doctor.doctor),
}


def _add_commands() -> None:
    """Add the commands, in the order of the help."""
    app.command(rich_help_panel="Run")(run.up)
    for name, text in run.PROCESSES.items():
        function = run.receive if name == "receive" else run.run
        app.command(name, help=text, rich_help_panel="Run")(function)
    for panel, commands in _PANELS.items():
        for command in commands:
            if isinstance(command, typer.Typer):
                app.add_typer(command, rich_help_panel=panel)
            else:
                # `import` is a word of Python: its function is `import_`.
                app.command(command.__name__.rstrip("_"), rich_help_panel=panel)(command)


_add_commands()
