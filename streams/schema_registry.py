"""An external Schema Registry, in the words of Confluent's API.

It chooses the ids. To name them ourselves (mode IMPORT) is no way for all: Apicurio 3.3.3 answers
that it is in that mode, and gives an id of its own all the same.
"""

import re
from collections.abc import Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Any

import httpx

from schemas.codec import Codec
from schemas.topics import Topic

_TIMEOUT_SECONDS = 10.0
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class Refused(Exception):
    """The registry did not do what was asked; the message says what, and why."""


class Away(Refused):
    """The registry cannot answer now."""


def shown(url: str) -> str:
    """The registry's address for people: without the password that it may hold."""
    return re.sub(r"(?<=//)[^/]*@", "***@", url)


class Registry:
    """Asks the registry at `url`. Its calls raise Refused."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        try:
            where = httpx.URL(url.rstrip("/"))
        except httpx.InvalidURL:
            # What is wrong with it may be part of a password.
            raise Refused("its address is no URL") from None
        self._client = httpx.Client(
            # The client logs each URL that it asks for, and a password in it, too.
            base_url=where.copy_with(userinfo=b""),
            auth=(where.username, where.password) if where.userinfo else None,
            timeout=_TIMEOUT_SECONDS,
            headers={"content-type": _MEDIA_TYPE, "accept": f"{_MEDIA_TYPE}, application/json"},
            transport=transport,
        )

    def __enter__(self) -> "Registry":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._client.close()

    def register(self, topics: Iterable[Topic[Any]], prefix: str) -> dict[str, int]:
        """Registers the value schema of each Avro topic, and holds its subject to FULL_TRANSITIVE
        from then on; ids by subject. What is registered stays as it is.
        """
        ids = {}
        for subject, codec in subjects(topics, prefix).items():
            body = {"schema": codec.text, "schemaType": "AVRO"}
            ids[subject] = self._asked("POST", f"/subjects/{subject}/versions", body)["id"]
            self._asked("PUT", f"/config/{subject}", {"compatibility": "FULL_TRANSITIVE"})
        return ids

    def ids(self, topics: Iterable[Topic[Any]], prefix: str) -> dict[str, int]:
        """The ids of our schemas by their names. Raises Refused for one not registered."""
        found = {}
        for subject, codec in subjects(topics, prefix).items():
            known = self._ask("POST", f"/subjects/{subject}", {"schema": codec.text})
            if known.status_code == HTTPStatus.NOT_FOUND:
                raise Refused(f"{subject} is not there as it is: run `linkstatus schemas register`")
            found[codec.name] = _content(known, subject)["id"]
        return found

    def text(self, number: int) -> str | None:
        """The schema of an id; None if there is none."""
        answer = self._ask("GET", f"/schemas/ids/{number}")
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        text: str = _content(answer, f"schema {number}")["schema"]
        return text

    def _asked(self, method: str, path: str, body: dict[str, str]) -> Any:
        return _content(self._ask(method, path, body), path)

    def _ask(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise Away(f"the registry does not answer: {str(error) or repr(error)}") from error


def subjects(topics: Iterable[Topic[Any]], prefix: str) -> dict[str, Codec[Any]]:
    """Of the Avro topics, named as Confluent's TopicNameStrategy does."""
    return {f"{prefix}{topic.name}-value": topic.codec for topic in topics if topic.codec}


def _content(answer: httpx.Response, what: str) -> Any:
    if answer.is_error:
        kind = Away if answer.is_server_error else Refused
        raise kind(f"{what}: the registry answered {answer.status_code}: {answer.text[:500]}")
    return answer.json()
