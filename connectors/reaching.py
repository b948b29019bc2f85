"""Why a cluster does not take us, in terms of the settings.

The clients themselves only say that no broker can be reached, or try for ever. librdkafka tells the
cause apart from its answers; here it is asked for it.
"""

import time
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from connectors.kafka import Cluster

_SECURITY = "LINKSTATUS_SECURITY__"
# What is said of an attempt, and the settings that decide it.
_CREDENTIALS = f"{_SECURITY}SASL_USERNAME, …SASL_PASSWORD and …SASL_MECHANISM"
_AUTHORITY = f"{_SECURITY}SSL_CA and the names in the brokers' certificates"
_CERTIFICATE = f"{_SECURITY}SSL_CERTIFICATE and …SSL_KEY"
_PROTOCOL = f"{_SECURITY}PROTOCOL and the port in LINKSTATUS_BROKERS"


class Refused(Exception):
    """The cluster is there and does not take us as we are configured; the message names the
    settings to look at.
    """


def check(cluster: Cluster, seconds: float = 3.0) -> None:
    """Raises Refused. A cluster that is only away is none of our business here."""
    said, answers = _ask(cluster, seconds)
    if not answers and (why := _refusal(said)):
        raise Refused(why)


def explain(cluster: Cluster, seconds: float = 3.0) -> str | None:
    """Why the cluster cannot be used, as far as can be told; None if it answers now."""
    said, answers = _ask(cluster, seconds)
    if answers:
        return None
    if why := _refusal(said):
        return why
    if words := [error.str() for error in said if error.code() == KafkaError._TRANSPORT]:
        return f"{_brief(words[0])}; look at LINKSTATUS_BROKERS"
    return f"{cluster.brokers} breaks the connection off without a word; look at {_PROTOCOL}"


def _ask(cluster: Cluster, seconds: float) -> tuple[list[KafkaError], bool]:
    """What the client said while it tried, and whether it got an answer."""
    said: list[KafkaError] = []
    try:
        settings: dict[str, Any] = {**cluster.librdkafka(), "log_level": 0, "error_cb": said.append}
        client = AdminClient(settings)
    except KafkaException as error:
        return [error.args[0]], False
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not _refusal(said):
        try:
            client.list_topics(timeout=0.3)
        except KafkaException:
            client.poll(0.05)
        else:
            return said, True
    return said, False


def _refusal(said: list[KafkaError]) -> str | None:
    for error in said:
        if settings := _settings(error.code(), error.str()):
            return f"the cluster refuses us: {_brief(error.str())}; look at {settings}"
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
    """Without what librdkafka adds for its own users: its settings are not ours."""
    text = text.partition(" (after ")[0].partition(", verify that ")[0]
    return text.partition("/bootstrap: ")[2] or text
