"""Requests a lookup of a link when a person or a program wants its state now.

No callback reports a refund that the merchant makes at Ping, for example. The answer takes the way
of every lookup's answer.
"""

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus

from confluent_kafka import KafkaException

from connectors.board.http.refusal import Refused
from connectors.clock import micros_now
from connectors.kafka import sync_producer
from connectors.kafka.cluster import Cluster
from connectors.kafka.sync_producer import NotAcknowledged, Record
from connectors.providers.base import Provider
from connectors.reasons import reason_of
from schemas.codec import LOOKUP_REQUEST, Codecs
from schemas.ids import event_id
from schemas.records import ENDED, LinkStatus, LookupRequest
from schemas.topics import LOOKUPS, message_key

_SECONDS = 5.0

Publish = Callable[[LookupRequest], None]


class NotRequested(Refused):
    """Kafka does not take the request now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class Lookups:
    """Requests lookups. `publish` puts a request on its topic, or raises."""

    def __init__(self, providers: Mapping[str, Provider], publish: Publish) -> None:
        self._providers = providers
        self._publish = publish

    def why_not(self, link: LinkStatus) -> str | None:
        """Why the link cannot be looked up now, or None."""
        provider = self._providers.get(link["provider"])
        if provider is None or not provider.can_look_up():
            return f"the credentials for the API of {link['provider']} are not set"
        if provider.final_after_end and link["status"] in ENDED:
            return f"{link['provider']} forbids lookups of a link that has ended"
        return None

    async def request(self, link: LinkStatus) -> None:
        """Request a lookup. Raises Refused, NotRequested."""
        if reason := self.why_not(link):
            raise Refused(reason)
        try:
            await asyncio.to_thread(self._publish, _request(link, micros_now()))
        except (NotAcknowledged, KafkaException) as error:
            raise NotRequested(
                f"Kafka does not take the request now: {reason_of(error)}"
            ) from error


def _request(link: LinkStatus, now: int) -> LookupRequest:
    name = (link["provider"], link["link_id"])
    return {
        "request_id": event_id("lookup", *name, "requested", now),
        "provider": link["provider"],
        "link_id": link["link_id"],
        "reason": "DETAILS",
        "claimed_status": None,
        "payment_id": link["payment_id"],
        "refund": None,
        # Anybody may have invented the others: they share a limit.
        "issued": link["verified"] or link["registration"] is not None,
        "requested_at": now,
    }


def publisher(cluster: Cluster, codecs: Codecs) -> Publish:
    """Return a function that puts a request on the topic `lookups`. It blocks."""

    def publish(request: LookupRequest) -> None:
        key = message_key(request["provider"], request["link_id"])
        records: list[Record] = [(key, codecs.encode(LOOKUP_REQUEST, request), [])]
        sync_producer.publish(cluster, LOOKUPS.name, records, _SECONDS)

    return publish
