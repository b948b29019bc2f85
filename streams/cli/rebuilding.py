"""The command that rebuilds everything from what came in: `rebuild`."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from streams.rebuild import Comparison

_NAMED = 5


def add_to(app: typer.Typer) -> None:
    app.command(rich_help_panel="Care")(rebuild)


def rebuild(
    prefix: Annotated[str, typer.Argument(help="Prefix of the new topics, which must not exist.")],
    json: Annotated[
        bool, typer.Option("--json", help="One object a line for each kind of thing compared.")
    ] = False,
) -> None:
    """Replays what came in (callbacks, links, order-updates) into new topics and compares.

    The same records give the same links, orders, closes, settlements and event ids; a difference is
    named and ends the command with 1. Best while nothing comes in. Nothing is asked of a provider,
    nothing settled; the topics under the new prefix stay until you delete them.

        linkstatus rebuild rebuilt.
    """
    from dataclasses import asdict, replace

    from connectors.clock import micros_now
    from schemas import codec
    from streams import admin, running, schema_ids, wiring
    from streams.cli.errors import Failed
    from streams.cli.terminal import as_json, counting
    from streams.rebuild import compare

    settings = running.settings()
    source = settings.cluster()
    target = replace(source, prefix=prefix)
    wanted = wiring.topics()
    if prefix == source.prefix or admin.existing(target, wanted):
        raise Failed(f"there are topics with the prefix {prefix!r} already")
    started = wiring.rebuild(settings, target)
    admin.create(target, wanted, started.partitions, settings.replication)
    schema_ids.note(target, {one.id: one.text for one in codec.ALL})
    with counting("replaying", started.total) as advance:
        kept_since = started.run(micros_now(), advance)
    found = compare(source, target, kept_since)
    for one in found:
        print(as_json({**asdict(one), "agrees": one.agrees}) if json else _line(one))
    if not all(one.agrees for one in found):
        raise Failed("what was rebuilt is not what is there")


def _line(found: "Comparison") -> str:
    parts = [f"{found.what:12} {found.same} the same"]
    if found.older:
        parts.append(f"{found.older} older than what is kept")
    for word in ("missing", "added", "different"):
        names: list[str] = getattr(found, word)
        if names:
            some = ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
            parts.append(f"{len(names)} {word} ({some})")
    return "; ".join(parts)
