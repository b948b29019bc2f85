"""`linkstatus verify`: check what is on the topics."""

from typing import Annotated

import typer

from streams.cli.arguments import By, OneJson
from streams.cli.errors import Failed
from streams.cli.terminal import harmless, print_json, progress, say, user
from streams.local import data_folder


def verify(
    by: By = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do not publish the result for the page.")
    ] = False,
    json: OneJson = False,
) -> None:
    """Check the topics: was a callback lost, did an order close twice?

    Counts callbacks, links, closes and settlements, and names every difference: a callback without
    an effect, a link without an event, an order that closed or settled twice, a close without its
    order or a paid link, a settlement without a close. Ends with exit code 1 if there are any. The
    live page shows the last result. It changes nothing and may run beside the workers.

        linkstatus verify
    """
    from connectors.clock import micros_now
    from connectors.triage import audit
    from streams import wiring
    from streams.verify import verify

    settings = data_folder.settings()
    cluster = settings.cluster()
    # Who only reads needs no right to write.
    codecs = wiring.reading_codecs(settings) if dry_run else wiring.codecs(settings)
    with progress("reading", None) as advance:
        result = verify(cluster, codecs, settings.existing_providers(), micros_now(), advance)
    if not dry_run:
        audit.publish(cluster, codecs, [result.notice(by or user(), micros_now())])
    if json:
        differences = [one._asdict() for one in result.differences]
        print_json({"counts": result.counts, "differences": differences})
    else:
        for what, name in result.differences:
            print(harmless(f"{what}: {name}"))
        print(", ".join(f"{count:,} {name}" for name, count in result.counts.items()))
    if result.differences:
        raise Failed(f"{len(result.differences)} differences")
    say("no differences")
