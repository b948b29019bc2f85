"""The commands for the cluster's topics and the schemas."""

from typing import Annotated

import typer

topics = typer.Typer(help="The topics on the cluster.", no_args_is_help=True)
schemas = typer.Typer(help="The Avro schemas of the records.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(topics, name="topics", rich_help_panel="Care")
    app.add_typer(schemas, name="schemas", rich_help_panel="Care")


@topics.command()
def create(
    json: Annotated[
        bool, typer.Option("--json", help="One object: those `made`, `there`.")
    ] = False,
) -> None:
    """Makes the topics that are missing, and notes the schemas of this release in `schemas`; what
    exists stays as it is.
    """
    from streams import admin, running, schema_ids, wiring
    from streams.cli.terminal import as_json

    settings = running.settings()
    wiring.reach(settings)
    wanted = wiring.topics()
    made = admin.create(settings.cluster(), wanted, settings.partitions, settings.replication)
    schema_ids.note_own(settings.cluster())
    if json:
        print(as_json({"made": made, "there": len(wanted) - len(made)}))
        return
    for name in made:
        print(name)
    print(f"{len(made)} made, {len(wanted) - len(made)} there already")


@topics.command("check")
def check_topics(
    json: Annotated[
        bool, typer.Option("--json", help="One object: `well`, `differences`.")
    ] = False,
) -> None:
    """Compares the cluster's topics with what they should be and names every difference."""
    from streams import admin, running, wiring
    from streams.cli.errors import Failed
    from streams.cli.terminal import as_json

    settings = running.settings()
    wiring.reach(settings)
    wanted = wiring.topics()
    problems = admin.check(settings.cluster(), wanted, settings.partitions, settings.replication)
    if json:
        checked = {"well": not problems, "topics": len(wanted), "differences": problems}
        print(as_json(checked))
    for problem in () if json else problems:
        print(problem)
    if problems:
        raise Failed(
            f"{len(problems)} differences; `linkstatus topics create` makes what is missing"
        )
    if not json:
        print(f"all {len(wanted)} topics are as they should be")


@topics.command("acls")
def print_acls(
    principal: Annotated[
        str, typer.Option(help="Who a process is to the cluster; {process} is its name.")
    ] = "User:linkstatus-{process}",
    json: Annotated[bool, typer.Option("--json", help="One object a line, no commands.")] = False,
) -> None:
    """Prints the commands that allow each process what it needs, and nothing else."""
    from dataclasses import asdict

    from streams import acls, running
    from streams.cli.terminal import as_json

    settings = running.settings()
    registry = settings.schema_registry_url is not None
    found = acls.acls(settings.providers(), settings.topic_prefix, registry=registry)
    for one in found if json else ():
        print(as_json({**asdict(one), "principal": principal.replace("{process}", one.process)}))
    if json:
        return
    for line in acls.commands(found, settings.brokers or "BROKERS", principal):
        print(line)


@schemas.command("check")
def check_schemas(
    json: Annotated[bool, typer.Option("--json", help="One object: `well`, `breaks`.")] = False,
) -> None:
    """Compares the schemas with every released one: each must read what the other writes."""
    from schemas import codec, compatibility
    from streams.cli.errors import Failed
    from streams.cli.terminal import as_json

    changed, found = compatibility.changed(), compatibility.breaks()
    if json:
        rows = [
            {"id": one.id, "name": one.full_name, "changed": one.name in changed}
            for one in codec.ALL
        ]
        print(as_json({"well": not found, "schemas": rows, "breaks": found}))
    for one in () if json else sorted(codec.ALL, key=lambda one: one.name):
        note = "  changed since its release" if one.name in changed else ""
        print(f"{one.id:10}  {one.name}.avsc  {one.full_name}{note}")
    if found:
        raise Failed("\n".join(found))


@schemas.command()
def release(number: Annotated[str, typer.Argument(help="Its number, such as 0.2.0.")]) -> None:
    """Keeps the schemas that have changed as released: from then on their records are read for
    good. Run it in a working copy, and commit what it adds.
    """
    from schemas import compatibility
    from streams.cli.errors import Failed

    try:
        names = compatibility.release(number)
    except ValueError as error:
        raise Failed(str(error)) from error
    for name in names:
        print(f"{name}.avsc")
    print(f"{len(names)} schemas released as {number}")


@schemas.command()
def register(
    json: Annotated[bool, typer.Option("--json", help="One object: the ids by subject.")] = False,
) -> None:
    """Registers the schemas in the Schema Registry that SCHEMA_REGISTRY_URL names, under the ids it
    gives them. Processes started from then on write these.
    """
    from streams import running, wiring
    from streams.cli.terminal import as_json
    from streams.schema_registry import Registry
    from streams.settings import BadSettings

    settings = running.settings()
    if settings.schema_registry_url is None:
        raise BadSettings("LINKSTATUS_SCHEMA_REGISTRY_URL is not set: it names the registry")
    with Registry(settings.schema_registry_url) as registry:
        ids = registry.register(wiring.topics(), settings.topic_prefix)
    if json:
        print(as_json(ids))
        return
    for subject, number in ids.items():
        print(f"{number:10}  {subject}")
