"""The command line. Commands import heavy modules when they run, so that `--help` is fast."""

import io
import sys


def main() -> None:
    """Run the console script; `streams.cli.errors` has its exit codes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal with a narrow encoding shows other characters as escapes.
            stream.reconfigure(errors="backslashreplace")
    try:
        from streams.cli.app import app

        app(prog_name="linkstatus")
    except Exception as error:
        from streams.cli import errors

        errors.end(error)
        raise
