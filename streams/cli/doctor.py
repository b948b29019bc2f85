"""`linkstatus doctor`: what is misconfigured, and the setting to change."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.finding import Finding

_STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Care")(doctor)


def doctor(
    json: Annotated[
        bool, typer.Option("--json", help="One object: `well`, and `checks` with their `settings`.")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no provider.")] = False,
) -> None:
    """Looks at brokers, topics, registry, database, access, credentials and clock.

    Each provider whose credentials are set is asked for a link that never was: that changes
    nothing there, and shows whether it takes the credentials and what time it has. Ends with 1
    when something is wrong, and names the settings to change; a note is no fault.

        linkstatus doctor
        linkstatus doctor --json --offline
    """
    from streams import checkup, running
    from streams.cli.errors import Failed
    from streams.cli.terminal import as_json, say

    settings = running.settings()  # a wrong value names itself and ends the command here
    if not json:
        say("looking …")
    findings = list(checkup.examine(settings, ask_providers=not offline))
    bad = sum(finding.state == "wrong" for finding in findings)
    if json:
        checks = [finding._asdict() for finding in findings]
        print(as_json({"well": not bad, "checks": checks}))
    else:
        _draw(findings)
    if bad:
        raise Failed(f"{bad} of {len(findings)} checks found something wrong")


def _draw(findings: Iterable["Finding"]) -> None:
    from streams.cli.drawing import console, grid, text

    table = grid("", "", "")
    table.show_header = False
    for column in table.columns[:2]:
        column.no_wrap = True
    for one in findings:
        table.add_row(text(one.state, _STYLES[one.state]), one.check, text(one.said))
        if one.settings:
            table.add_row("", "", text(f"set {', '.join(one.settings)}", "bold"))
    console().print(table)
