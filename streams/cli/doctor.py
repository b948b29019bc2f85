"""`linkstatus doctor`: find what is misconfigured, and name the setting to change."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.arguments import OneJson
from streams.cli.errors import Failed
from streams.cli.tables import console, grid, text
from streams.cli.terminal import print_json, say
from streams.local import data_folder

if TYPE_CHECKING:
    from streams.admin.finding import Finding

_STYLES = {"ok": "green", "note": "yellow", "wrong": "bold red"}


def doctor(
    json: OneJson = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not call the providers.")] = False,
) -> None:
    """Check brokers, topics, registry, database, access, credentials and clock.

    The doctor asks each provider with credentials about a link that does not exist. This changes
    nothing there, and shows whether the provider accepts the credentials and what time it has. The
    exit code is 1 when something is wrong; the output names the settings to change. A note is not
    an error.

        linkstatus doctor
        linkstatus doctor --json --offline
    """
    from streams.admin.doctor import examine

    settings = data_folder.settings()  # a wrong value ends the command here
    if not json:
        say("checking …")
    findings = list(examine(settings, call_providers=not offline))
    wrong = sum(finding.state == "wrong" for finding in findings)
    if json:
        print_json({"ok": not wrong, "checks": [finding._asdict() for finding in findings]})
    else:
        _draw(findings)
    if wrong:
        raise Failed(f"{wrong} of {len(findings)} checks found something wrong")


def _draw(findings: Iterable["Finding"]) -> None:
    table = grid("", "", "")
    table.show_header = False
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for finding in findings:
        state = text(finding.state, _STYLES[finding.state])
        table.add_row(state, finding.check, text(finding.message))
        if finding.settings:
            table.add_row("", "", text(f"set {', '.join(finding.settings)}", "bold"))
    console().print(table)
