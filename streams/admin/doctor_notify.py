"""The doctor's checks of the endpoints that get events: how many events wait for each."""

from collections.abc import Iterator

from confluent_kafka import KafkaException

from connectors.kafka import progress
from connectors.reasons import reason_of
from streams.admin.finding import Finding, note, ok
from streams.settings import Settings


def examine(settings: Settings) -> Iterator[Finding]:
    """One finding for each endpoint. Nothing is sent."""
    cluster = settings.cluster()
    for endpoint in settings.notify.named():
        check = f"endpoint {endpoint.name}"
        topics = [cluster.topic(topic) for topic in endpoint.consumed]
        try:
            waiting = progress.records_behind(cluster, endpoint.group, topics)
        except KafkaException as error:
            yield note(check, f"its events cannot be counted: {reason_of(error)}")
            continue
        if waiting:
            yield note(check, f"{waiting} events wait; `notify` delivers them while it runs")
        else:
            yield ok(check, "no event waits")
