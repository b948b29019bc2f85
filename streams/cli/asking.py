"""Asking the board, where a running system keeps it."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import httpx

from connectors.sandbox.play import knows_none
from streams.settings import Settings

_TIMEOUT_SECONDS = 10.0
# The most that the board gives at once.
_PAGE = 500


class Board:
    """The query API at LINKSTATUS_BOARD__URL. Raises httpx.HTTPError."""

    def __init__(self, settings: Settings) -> None:
        token = settings.board.token
        self._client = httpx.Client(
            base_url=settings.board_url(),
            headers={"authorization": f"Bearer {token.get_secret_value()}"} if token else {},
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """The answer in JSON; None for what the board does not know."""
        answer = self._client.get(path, params=parameters)
        if knows_none(answer):
            return None
        return answer.raise_for_status().json()

    def post(self, path: str, form: Mapping[str, str]) -> Any:
        """The answer in JSON."""
        return self._client.post(path, data=dict(form)).raise_for_status().json()

    def rows(self, name: str, where: Mapping[str, str], limit: int) -> Iterator[Any]:
        """The rows of a list, such as `links`: the newest first."""
        return islice(self._rows(name, {**where, "limit": str(min(limit, _PAGE))}), limit)

    def _rows(self, name: str, asked: dict[str, str]) -> Iterator[Any]:
        while True:
            page = self.get(f"/{name}", **asked)
            yield from page[name]
            if page["next"] is None:
                return
            asked = {**asked, "cursor": page["next"]}
