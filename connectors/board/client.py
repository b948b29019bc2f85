"""What a client learns from the answers of a board."""

import httpx

# The error of `connectors.http.api` for a path without a route.
_NO_SUCH_ADDRESS = "no such address"


def is_unknown(answer: httpx.Response) -> bool:
    """Whether a board answers that it does not know the link or the order."""
    return answer.status_code == httpx.codes.NOT_FOUND and is_from_board(answer)


def is_from_board(answer: httpx.Response) -> bool:
    """Whether a board answers. An edge alone has none of the board's addresses, or no `GET`."""
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return False
    if answer.status_code == httpx.codes.NOT_FOUND:
        return bool(answer.json().get("error") != _NO_SUCH_ADDRESS)
    return answer.status_code != httpx.codes.METHOD_NOT_ALLOWED
