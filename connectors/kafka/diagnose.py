"""Why a cluster refuses us, in terms of our settings.

Kafka clients only report that no broker can be reached, or retry for ever. librdkafka knows the
cause and reports it to a callback.
"""

import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import Cluster

_SECURITY = "LINKSTATUS_SECURITY__"
# The settings that decide the result of a connection attempt.
_CREDENTIALS = f"{_SECURITY}SASL_USERNAME, …SASL_PASSWORD and …SASL_MECHANISM"
_AUTHORITY = f"{_SECURITY}SSL_CA and the names in the brokers' certificates"
_CERTIFICATE = f"{_SECURITY}SSL_CERTIFICATE and …SSL_KEY"
_PROTOCOL = f"{_SECURITY}PROTOCOL and the port in LINKSTATUS_BROKERS"


class Refused(Exception):
    """The cluster is up and refuses our configuration; the message names the settings to check."""


def check(cluster: Cluster, seconds: float = 3.0) -> None:
    """Raise Refused if the cluster refuses us. A cluster that is down passes."""
    errors, answered = _connect(cluster, seconds)
    if not answered and (reason := _refusal(errors)):
        raise Refused(reason)


def explain(cluster: Cluster, seconds: float = 3.0) -> str | None:
    """Return why the cluster cannot be used, as far as we can know; None if it answers now."""
    errors, answered = _connect(cluster, seconds)
    if answered:
        return None
    if reason := _refusal(errors):
        return reason
    if texts := [error.str() for error in errors if error.code() == KafkaError._TRANSPORT]:
        return f"{_brief(texts[0])}; check LINKSTATUS_BROKERS"
    return f"{cluster.brokers} closes the connection without a reason; check {_PROTOCOL}"


def _connect(cluster: Cluster, seconds: float) -> tuple[list[KafkaError], bool]:
    """Return the errors of the attempts to connect, and whether the cluster answered."""
    errors: list[KafkaError] = []
    try:
        settings: dict[str, Any] = {
            **cluster.librdkafka(),
            "log_level": 0,
            "error_cb": errors.append,
        }
        client = AdminClient(settings)
    except KafkaException as error:
        return [error.args[0]], False
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not _refusal(errors):
        try:
            client.list_topics(timeout=0.3)
        except KafkaException:
            client.poll(0.05)
        else:
            return errors, True
    return errors, False


def _refusal(errors: list[KafkaError]) -> str | None:
    for error in errors:
        if settings := _settings(error.code(), error.str()):
            return f"the cluster refuses us: {_brief(error.str())}; check {settings}"
    return None


def _settings(code: int, text: str) -> str | None:
    if code == KafkaError._AUTHENTICATION:
        return _CREDENTIALS
    if code == KafkaError._INVALID_ARG:
        return f"{_SECURITY}*"
    if "alert" in text and "certificate" in text:
        return _CERTIFICATE
    if "PLAINTEXT broker listener" in text:
        return _PROTOCOL
    return _AUTHORITY if code == KafkaError._SSL else None


def _brief(text: str) -> str:
    """Return the message without librdkafka's advice about its own settings, which are not ours."""
    text = text.partition(" (after ")[0].partition(", verify that ")[0]
    return text.partition("/bootstrap: ")[2] or text
