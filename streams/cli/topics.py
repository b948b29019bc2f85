"""`linkstatus topics`: create and check the topics, print the ACLs of the processes."""

from dataclasses import asdict
from typing import Annotated

import typer

from streams.cli.arguments import Json, OneJson
from streams.cli.errors import Failed
from streams.cli.terminal import output, print_json
from streams.local import data_folder

topics = typer.Typer(name="topics", help="The topics on the cluster.", no_args_is_help=True)


@topics.command()
def create(json: OneJson = False) -> None:
    """Create the missing topics, and publish the schemas of this release on `schemas`.

    Existing topics stay as they are.
    """
    from connectors.schema_registry import noted_ids
    from streams import wiring
    from streams.admin import topics as admin

    settings = data_folder.settings()
    wiring.check_access(settings)
    all_topics, cluster = wiring.topics(settings), settings.cluster()
    created = admin.create(cluster, all_topics, settings.partitions, settings.replication)
    noted_ids.note_own(cluster)
    existing = len(all_topics) - len(created)
    summary = f"{len(created)} created, {existing} existing"
    output(json, {"created": created, "existing": existing}, *created, summary)


@topics.command()
def check(json: OneJson = False) -> None:
    """Compare the cluster's topics with what they should be and name every difference.

    The brokers' settings count, too, as far as our user may read them: sessions, offsets, and the
    replication of Kafka's own topics. A note is not an error.
    """
    from confluent_kafka import KafkaException

    from streams import wiring
    from streams.admin import brokers
    from streams.admin import topics as admin

    settings = data_folder.settings()
    wiring.check_access(settings)
    all_topics, cluster = wiring.topics(settings), settings.cluster()
    differences = admin.check(cluster, all_topics, settings.partitions, settings.replication)
    try:
        wrong, notes = brokers.check(cluster, settings.replication)
        differences += wrong
    except KafkaException as error:
        notes = [f"the brokers' settings cannot be read: {error.args[0].str()}"]
    lines = differences or [f"all {len(all_topics)} topics are as they should be"]
    report = {
        "ok": not differences,
        "topics": len(all_topics),
        "differences": differences,
        "notes": notes,
    }
    output(json, report, *lines, *(f"note: {note}" for note in notes))
    if differences:
        hint = "`linkstatus topics create` creates missing topics"
        raise Failed(f"{len(differences)} differences", hint)


@topics.command()
def acls(
    principal: Annotated[
        str, typer.Option(help="The principal of a process; {process} stands for its name.")
    ] = "User:linkstatus-{process}",
    json: Json = False,
) -> None:
    """Print the commands that give each process the rights it needs, and no others."""
    from streams.admin import acls as admin

    settings = data_folder.settings()
    registry = settings.schema_registry_url is not None
    rights = admin.acls(settings.existing_providers(), settings.topic_prefix, registry=registry)
    if not json:
        print(*admin.commands(rights, settings.brokers or "BROKERS", principal), sep="\n")
        return
    for acl in rights:
        print_json({**asdict(acl), "principal": principal.replace("{process}", acl.process)})
