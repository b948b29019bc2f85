"""How every client reaches the cluster: one description for aiokafka and for librdkafka."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from connectors.kafka.clients import Clients

log = logging.getLogger(__name__)

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Brokers, security settings, and the prefix of this installation's topics and groups."""

    brokers: str
    prefix: str = ""
    protocol: Protocol = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_ca: str | None = None
    ssl_certificate: str | None = None
    ssl_key: str | None = None
    ssl_key_password: str | None = field(default=None, repr=False)
    clients: Clients = field(default=Clients(), repr=False)

    def topic(self, name: str) -> str:
        """Return the topic's name on this cluster."""
        return self.prefix + name

    def aiokafka(self) -> dict[str, Any]:
        """Return keyword arguments for an aiokafka client."""
        options: dict[str, Any] = {
            "bootstrap_servers": self.brokers,
            "security_protocol": self.protocol,
        }
        if self.protocol.endswith("SSL"):
            context = ssl.create_default_context(cafile=self.ssl_ca)
            if self.ssl_certificate:
                context.load_cert_chain(self.ssl_certificate, self.ssl_key, self.ssl_key_password)
            options["ssl_context"] = context
        if self.protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password
        return options

    def librdkafka(self) -> dict[str, Any]:
        """Return settings for a librdkafka client."""
        options = {
            "bootstrap.servers": self.brokers,
            "security.protocol": self.protocol,
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.sasl_username,
            "sasl.password": self.sasl_password,
            "ssl.ca.location": self.ssl_ca,
            "ssl.certificate.location": self.ssl_certificate,
            "ssl.key.location": self.ssl_key,
            "ssl.key.password": self.ssl_key_password,
        }
        return {name: value for name, value in options.items() if value is not None}


async def close_client(close: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Close an aiokafka client within a time limit, whatever state it is in. Its errors are logged.

    The close runs in its own task: aiokafka awaits tasks that it has cancelled, and their
    CancelledError would end our task as if ours had been cancelled.
    """
    closing = asyncio.ensure_future(close())
    try:
        await asyncio.wait([closing], timeout=seconds)
    finally:
        if not closing.done():
            closing.cancel()
        closing.add_done_callback(_log_error)


def _log_error(closing: asyncio.Future[None]) -> None:
    error = None if closing.cancelled() else closing.exception()
    if error is not None:
        log.info("a Kafka client did not close in order: %r", error)
