"""`linkstatus schemas`: check, release and register the Avro schemas."""

from typing import Annotated

import typer

from streams.cli.arguments import OneJson
from streams.cli.errors import Failed
from streams.cli.terminal import output
from streams.local import data_folder

schemas = typer.Typer(name="schemas", help="The Avro schemas of the records.", no_args_is_help=True)


@schemas.command()
def check(json: OneJson = False) -> None:
    """Compare the schemas with every released one: each must read what the other writes."""
    from schemas import codec, compatibility

    changed, breaks = compatibility.changed(), compatibility.breaks()
    rows, lines = [], []
    for one in sorted(codec.ALL, key=lambda one: one.name):
        row = {"id": one.fingerprint, "name": one.full_name, "changed": one.name in changed}
        note = "  changed since its release" if row["changed"] else ""
        rows.append(row)
        lines.append(f"{one.fingerprint:10}  {one.name}.avsc  {one.full_name}{note}")
    output(json, {"ok": not breaks, "schemas": rows, "breaks": breaks}, *lines)
    if breaks:
        raise Failed("\n".join(breaks))


@schemas.command()
def release(
    number: Annotated[str, typer.Argument(help="The number of the release, such as 0.2.0.")],
) -> None:
    """Store the changed schemas as released: every later release reads their records.

    Run it in a working copy, and commit the files that it adds.
    """
    from schemas import compatibility

    try:
        names = compatibility.release(number)
    except ValueError as error:
        raise Failed(str(error)) from error
    for name in names:
        print(f"{name}.avsc")
    print(f"{len(names)} schemas released as {number}")


@schemas.command()
def register(json: OneJson = False) -> None:
    """Register the schemas in the Schema Registry at SCHEMA_REGISTRY_URL.

    Processes that start afterwards write the ids that the registry assigns.
    """
    from connectors.schema_registry import client
    from streams import wiring
    from streams.environment import BadSettings

    settings = data_folder.settings()
    if settings.schema_registry_url is None:
        raise BadSettings("LINKSTATUS_SCHEMA_REGISTRY_URL is not set: set it to the registry's URL")
    ids = client.register(
        settings.schema_registry_url, wiring.topics(settings), settings.topic_prefix
    )
    output(json, ids, *(f"{number:10}  {subject}" for subject, number in ids.items()))
