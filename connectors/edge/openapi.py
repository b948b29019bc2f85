"""`GET /openapi.json`: what the edge and the board answer, for programs.

It is a document like the README, not made from the code: the tests hold the code to it.
"""

import json
from collections.abc import Collection
from importlib.resources import files
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from connectors.edge.access import Access
from connectors.reading import LONGEST_ID
from schemas.records import Status


def document(providers: Collection[str]) -> dict[str, Any]:
    """The OpenAPI document for these providers."""
    text = (files("connectors.edge") / "openapi.json").read_text()
    content: dict[str, Any] = json.loads(text)
    content["components"]["schemas"] |= {
        "Provider": {"type": "string", "enum": sorted(providers)},
        "Status": {"type": "string", "enum": list(get_args(Status))},
        "Identifier": {
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST_ID,
            "pattern": r"^[^\x00-\x1f\x7f]+$",
        },
    }
    return content


class OpenApi:
    """Shows the document to whoever may act: off loopback nothing but callbacks is open."""

    def __init__(self, providers: Collection[str], access: Access) -> None:
        self._answer = JSONResponse(document(providers))
        self._access = access

    async def get(self, request: Request) -> Response:
        client = request.client.host if request.client else None
        if not self._access.granted(client, request.headers):
            return JSONResponse({"error": "a token is needed"}, 401, {"www-authenticate": "Bearer"})
        return self._answer
