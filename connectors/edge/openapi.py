"""`GET /openapi.json`: what the edge and the board answer, for programs."""

from collections.abc import Collection

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from connectors.documents.openapi import document
from connectors.edge.access import Access


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
