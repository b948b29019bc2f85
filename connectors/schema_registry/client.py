"""An external Schema Registry, through Confluent's client.

The registry chooses the ids. Choosing them here (mode IMPORT) does not work everywhere: Apicurio
3.3.3 reports that it is in that mode, and still gives an id of its own.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from connectors.reasons import reason_of
from schemas.codec import Schema
from schemas.topics import Topic

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema as RegistrySchema
    from confluent_kafka.schema_registry import SchemaRegistryClient

_TIMEOUT_SECONDS = 10.0


class Refused(Exception):
    """The registry refused a request; the message says which, and why."""


class Away(Refused):
    """The registry does not answer now."""


def without_password(url: str) -> str:
    """Return the registry's address as it may be shown and logged."""
    return re.sub(r"(?<=//)[^/]*@", "***@", url)


def subjects(topics: Iterable[Topic[Any]], prefix: str) -> dict[str, Schema[Any]]:
    """Return the value schemas of the Avro topics by subject (TopicNameStrategy)."""
    return {f"{prefix}{topic.name}-value": topic.schema for topic in topics if topic.schema}


def register(url: str, topics: Iterable[Topic[Any]], prefix: str) -> dict[str, int]:
    """Register the value schema of each Avro topic and set its subject to FULL_TRANSITIVE. Returns
    the ids by subject; a schema that is registered keeps its id. Raises Refused.
    """
    ids = {}
    with _client(url) as client:
        for subject, schema in subjects(topics, prefix).items():
            with _errors(subject):
                ids[subject] = _present(client.register_schema(subject, _avro(schema)))
                client.set_compatibility(subject, "FULL_TRANSITIVE")
    return ids


def ids(url: str, topics: Iterable[Topic[Any]], prefix: str) -> dict[str, int]:
    """Return the ids of our schemas by their names. Raises Refused if one is not registered."""
    ids = {}
    with _client(url) as client:
        for subject, schema in subjects(topics, prefix).items():
            try:
                with _errors(subject):
                    registered = client.lookup_schema(subject, _avro(schema))
                    ids[schema.name] = _present(registered.schema_id)
            except _NotFound as error:
                cure = "run `linkstatus schemas register`"
                raise Refused(f"{subject} does not have this release's schema: {cure}") from error
    return ids


def text(url: str, number: int) -> str | None:
    """Return the schema of an id, None for an unknown id. Raises Refused."""
    try:
        with _client(url) as client, _errors(f"schema {number}"):
            return client.get_schema(number).schema_str
    except _NotFound:
        return None


class _NotFound(Refused):
    """The registry answered 404."""


def _avro(schema: Schema[Any]) -> "RegistrySchema":
    from confluent_kafka.schema_registry import Schema as RegistrySchema

    return RegistrySchema(schema.text, "AVRO")


def _present(number: int | None) -> int:
    if number is None:
        raise ValueError("its answer has no id")
    return number


@contextmanager
def _client(url: str) -> "Iterator[SchemaRegistryClient]":
    # Importing it takes 0.3 s, and most processes need no registry.
    try:
        from confluent_kafka.schema_registry import SchemaRegistryClient
    except ImportError as error:
        raise Refused(
            "LINKSTATUS_SCHEMA_REGISTRY_URL is set: install linkstatus[registry], or unset it"
        ) from error

    with SchemaRegistryClient(_settings(url)) as client:
        yield client


def _settings(url: str) -> dict[str, Any]:
    """The client's settings; its HTTP library logs each URL, so the password is not part of it."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError
    except ValueError:
        # The message of urlsplit may quote a part of the password.
        raise Refused("its address is not an HTTP URL") from None
    settings = {
        "url": parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),
        "timeout": _TIMEOUT_SECONDS,
        # The callers retry themselves, or use the ids that they had before.
        "max.retries": 0,
    }
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        settings["basic.auth.user.info"] = f"{user}:{password}"
    return settings


@contextmanager
def _errors(subject: str) -> Iterator[None]:
    """Turn the client's errors into ours."""
    from confluent_kafka.schema_registry import SchemaRegistryError

    try:
        yield
    except SchemaRegistryError as error:
        status = error.http_status_code
        reason = f"{subject}: the registry answered {status}: {str(error.error_message)[:500]}"
        if status == HTTPStatus.NOT_FOUND:
            raise _NotFound(reason) from error
        kind = Away if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Refused
        raise kind(reason) from error
    except Exception as error:  # its HTTP library is not part of the client's interface
        raise Away(f"the registry does not answer: {reason_of(error)}") from error
