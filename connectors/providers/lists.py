"""What the list calls of providers' APIs share: links, payouts, transactions. No I/O."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from connectors.providers import api, payload
from connectors.providers.base import ApiResponse

# Pages of one list that are requested at most.
MOST_PAGES = 1000


class ListRefused(Exception):
    """The provider refuses to list, or lists in a way that we do not know, and a retry cannot help;
    the message has its answer.
    """


def utc(micros: int) -> str:
    """Return the time in RFC 3339, as a parameter of a request."""
    time = datetime.fromtimestamp(micros // 1_000_000, UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def checked(response: ApiResponse, what: str) -> Any:
    """Return the JSON of a success. Raises RetryableApiError, ListRefused."""
    document = api.document_of(response, what)
    if document is None:
        text = api.error_text(response.body).strip()
        raise ListRefused(f"{what} answered {response.status} {text}".strip())
    return document


def rows_of(document: Any) -> Any:
    """Return the list in an answer whose shape is not documented: the document itself, or the only
    list in it; None if there is none.
    """
    if isinstance(document, dict):
        lists = [value for value in document.values() if isinstance(value, list)]
        return lists[0] if len(lists) == 1 else None
    return document


def next_query(document: Any) -> str | None:
    """Return the query of the next page, by its `_links`. Host and path stay ours: our credentials
    go there.
    """
    href = payload.member(document, "_links", "next", "href")
    return urlencode(parse_qsl(urlsplit(href).query)) if isinstance(href, str) and href else None
