"""The commands for links that the merchant created: `links add`."""

from pathlib import Path
from typing import Annotated

import typer

links = typer.Typer(help="Links that you created at a provider.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(links, name="links", rich_help_panel="Use")


@links.callback()
def group() -> None:
    """Keeps `links add` a command of a group, as long as there is only one."""


@links.command()
def add(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; its first line names the columns.")],
    dry_run: Annotated[bool, typer.Option(help="Only say what would be rejected.")] = False,
) -> None:
    """Registers the links of a CSV file, as POST /links does: one a row.

    Columns: provider, link_id, and if you like order_id, amount (major units, with its currency),
    currency, expires_at (RFC 3339), links_in_order. Rows that are wrong are named with their line
    and the reason, all others are registered; the command then ends with 1.
    """
    from connectors.registry import PROVIDERS
    from streams import registrations, running, schema_ids
    from streams.cli.terminal import Failed, counting, harmless, say
    from streams.rebuild import micros_now

    rows = registrations.read(file, PROVIDERS, micros_now())
    rejected = [row for row in rows if row.link is None]
    for row in rejected:
        print(harmless(f"line {row.line}: {row.reason}"))
    good = [row.link for row in rows if row.link is not None]
    if not dry_run:
        settings = running.settings()
        schema_ids.prepare(settings)
        with counting("registering", len(good)) as advance:
            for more in registrations.publish(settings.cluster(), good):
                advance(more)
    say(f"{len(good)} {'good' if dry_run else 'registered'}, {len(rejected)} rejected")
    if rejected:
        raise Failed("not every row is a link that can be registered")
