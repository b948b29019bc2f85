"""The client of the board's query API."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from streams.cli.errors import Failed
from streams.local import data_folder

if TYPE_CHECKING:
    import httpx

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
        return _content(self._client.get(path, params=parameters))

    def post(self, path: str, form: Mapping[str, str]) -> Any:
        """As `get`, for an action."""
        return _content(self._client.post(path, json=dict(form)))

    def rows(self, name: str, options: Mapping[str, str | None], limit: int) -> Iterator[Any]:
        """The rows of a list, such as `links`, in the board's order; an empty option chooses
        nothing.
        """
        parameters = {option: value for option, value in options.items() if value}
        return islice(self._rows(name, {**parameters, "limit": str(min(limit, _PAGE))}), limit)

    def _rows(self, name: str, parameters: dict[str, str]) -> Iterator[Any]:
        while True:
            page = self.get(f"/{name}", **parameters)
            yield from page[name]
            if page["next"] is None:
                return
            parameters = {**parameters, "cursor": page["next"]}


def unknown_link(provider: str, link_id: str) -> Failed:
    """The end of a command about a link that the board does not know."""
    message = f"the board does not know {provider} link {link_id}"
    return Failed(message, "`linkstatus links list` shows the newest links")


def _content(response: "httpx.Response") -> Any:
    from connectors.board.client import is_unknown

    return None if is_unknown(response) else response.raise_for_status().json()
