"""The OpenAPI document that `linkstatus web` serves, and requests generated from it."""

from typing import Any

import schemathesis

from connectors.board.board import BoardConfig
from connectors.board.routes import json_api
from connectors.http.server import Address
from connectors.kafka.cluster import Cluster
from connectors.providers.registry import PROVIDERS
from connectors.receive import links
from schemas.codec import LINK_STATUS
from tests.support.codecs import CODECS
from tests.support.fakes import FakePublisher

ADDRESS = Address("127.0.0.1", 0)
# Values that exist: generated ones alone would never find anything.
KNOWN = {
    "provider": "ping",
    "link_id": "link-1",
    "order_id": "order-1",
    "day": "2025-11-01",
    "subject": "link-status-value",
    "version": "latest",
    "id": str(LINK_STATUS.fingerprint),
}


def config(database: str = "sqlite:///unused") -> BoardConfig:
    return BoardConfig(Cluster("127.0.0.1:1"), CODECS, tuple(PROVIDERS), database, ADDRESS)


def document() -> dict[str, Any]:
    """The document that `linkstatus web` serves."""
    return json_api(config(), [links.router(PROVIDERS, FakePublisher(), CODECS)]).openapi()


def with_known_values() -> dict[str, Any]:
    content = document()
    parameters = [
        parameter
        for item in content["paths"].values()
        for operation in item.values()
        for parameter in operation.get("parameters", ())
    ]
    assert {parameter["name"] for parameter in parameters} >= KNOWN.keys()
    for parameter in parameters:
        if known := KNOWN.get(parameter["name"]):
            parameter["schema"] = {"anyOf": [{"const": known}, parameter["schema"]]}
    return content


# The stream never ends.
SCHEMA = schemathesis.openapi.from_dict(with_known_values()).exclude(path="/stream")
