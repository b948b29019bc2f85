"""The command line. Commands import what they need when they run: help must be quick."""

import io
import sys

import typer

from streams.cli import (
    anomalies,
    cluster,
    doctor,
    errors,
    feeding,
    letters,
    linking,
    processes,
    rebuilding,
    records,
)

app = typer.Typer(
    help="One trustworthy status per payment link, from the callbacks of many providers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (processes, feeding, linking, records, anomalies, letters, cluster, rebuilding, doctor):
    part.add_to(app)


def main() -> None:
    """The console script; `streams.cli.errors` says how it ends."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a narrow terminal is no failure
    try:
        app(prog_name="linkstatus")
    except Exception as error:
        errors.end(error)
        raise
