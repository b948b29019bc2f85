"""`linkstatus rebuild`: process all inputs again and compare the results."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli.arguments import Json
from streams.cli.errors import Failed
from streams.cli.terminal import output, progress
from streams.local import data_folder

if TYPE_CHECKING:
    from streams.rebuild.compare import Comparison

_NAMED = 5


def rebuild(
    prefix: Annotated[str, typer.Argument(help="Prefix of the new topics, which must not exist.")],
    json: Json = False,
) -> None:
    """Process all inputs (callbacks, links, order-updates) into new topics and compare.

    The same inputs give the same links, orders, closes, settlements and event ids; the command
    names each difference and ends with exit code 1. What changes while it runs is counted apart. It
    calls no provider and settles nothing; delete the topics under the new prefix afterwards.

        linkstatus rebuild rebuilt.
    """
    from connectors.clock import micros_now
    from connectors.schema_registry import noted_ids
    from streams import wiring
    from streams.admin import topics
    from streams.rebuild.compare import compare

    settings = data_folder.settings()
    source = settings.cluster()
    target = replace(source, prefix=prefix)
    all_topics = wiring.topics(settings)
    if prefix == source.prefix or topics.existing(target, all_topics):
        raise Failed(f"topics with the prefix {prefix!r} already exist", "choose another prefix")
    codecs = wiring.codecs(settings)
    rebuilding = wiring.rebuild(settings, target, codecs)
    topics.create(target, all_topics, rebuilding.partitions, settings.replication)
    noted_ids.note(target, codecs.texts())
    now = micros_now()
    with progress("replaying", rebuilding.total) as advance:
        kept_since = rebuilding.run(now, advance)
    comparisons = compare(source, target, codecs, now, kept_since)
    for one in comparisons:
        output(json, {**asdict(one), "agrees": one.agrees}, _line(one))
    if not all(one.agrees for one in comparisons):
        raise Failed("the rebuilt records differ from the existing ones")


def _line(comparison: "Comparison") -> str:
    parts = [f"{comparison.kind:12} {comparison.same} the same"]
    if comparison.older:
        parts.append(f"{comparison.older} older than the inputs that Kafka keeps")
    if comparison.newer:
        parts.append(f"{comparison.newer} changed since the start")
    for difference in ("missing", "added", "different"):
        names: list[str] = getattr(comparison, difference)
        if names:
            some = ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
            parts.append(f"{len(names)} {difference} ({some})")
    return "; ".join(parts)
