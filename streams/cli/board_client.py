"""The client of the board's query API."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from streams.local import data_folder

_TIMEOUT_SECONDS = 10.0
# The board's largest page.
_PAGE = 500


class Board:
    """The board at LINKSTATUS_BOARD__URL. Raises httpx.HTTPError."""

    def __init__(self) -> None:
        import httpx

        settings = data_folder.settings()
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

    def get(self, path: str, **parameters: str) -> Any:
        """The answer in JSON; None if the board does not know the thing."""
        from connectors.board.client import is_unknown

        response = self._client.get(path, params=parameters)
        return None if is_unknown(response) else response.raise_for_status().json()

    def post(self, path: str, form: Mapping[str, str]) -> Any:
        """The answer in JSON."""
        return self._client.post(path, json=dict(form)).raise_for_status().json()

    def rows(self, name: str, parameters: Mapping[str, str], limit: int) -> Iterator[Any]:
        """The rows of a list, such as `links`, newest first."""
        return islice(self._rows(name, {**parameters, "limit": str(min(limit, _PAGE))}), limit)

    def _rows(self, name: str, parameters: dict[str, str]) -> Iterator[Any]:
        while True:
            page = self.get(f"/{name}", **parameters)
            yield from page[name]
            if page["next"] is None:
                return
            parameters = {**parameters, "cursor": page["next"]}
