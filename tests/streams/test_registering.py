"""Schemas are registered under the ids that our records carry."""

import json
from collections.abc import Callable

import httpx
import pytest

from schemas.topics import DEAD_LETTERS, LINK_EVENTS, LINKS
from streams.registering import Refused, register


class Registry:
    """A registry as far as registering asks of it."""

    def __init__(self) -> None:
        self.mode: dict[str, str] = {}
        self.ids: dict[str, int] = {}
        self.calls: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request.method)
        _, what, subject, *_ = request.url.path.split("/")
        if request.method == "GET":
            known = self.ids.get(subject)
            return httpx.Response(200, json={"id": known}) if known else httpx.Response(404)
        body = json.loads(request.content)
        if what == "mode":
            self.mode[subject] = body["mode"]
        elif self.mode.get(subject) != "IMPORT":
            return httpx.Response(422, text="not in import mode")
        else:
            self.ids[subject] = body["id"]
        return httpx.Response(200, json={})


def _register(answer: Callable[[httpx.Request], httpx.Response]) -> dict[str, int]:
    topics = (LINKS, DEAD_LETTERS, LINK_EVENTS)
    return register("http://registry", topics, "test.", httpx.MockTransport(answer))


def test_every_avro_topic_gets_the_id_its_records_carry() -> None:
    registry = Registry()
    assert LINKS.codec
    assert LINK_EVENTS.codec
    wanted = {"test.links-value": LINKS.codec.id, "test.link-events-value": LINK_EVENTS.codec.id}
    assert _register(registry) == wanted
    assert registry.ids == wanted
    assert set(registry.mode.values()) == {"READWRITE"}


def test_what_is_registered_is_left_alone() -> None:
    registry = Registry()
    _register(registry)
    registry.calls.clear()
    _register(registry)
    assert set(registry.calls) == {"GET"}


def test_a_refusal_names_the_schema_and_the_reason() -> None:
    with pytest.raises(Refused, match=r"test\.links-value.*409: incompatible"):
        _register(lambda _: httpx.Response(409, text="incompatible"))
