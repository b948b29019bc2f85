"""The HTTP client for provider APIs: limited in time and size, and how long to wait before the next
try.
"""

import asyncio
from collections.abc import Generator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx

from connectors.providers.base import ApiRequest, ApiResponse
from schemas.limits import ANSWER_BYTES

_LONGEST_RETRY_AFTER = 3600.0

Outcome = TypeVar("Outcome")


class AnswerTooLarge(Exception):
    """The answer is larger than any answer of a provider's API should be."""


# `fetch` and `run_exchange` raise these if the provider was not reached, or if its answer is not
# valid HTTP: a later try may succeed.
UNREACHED = (httpx.RequestError, TimeoutError, AnswerTooLarge)
# The same, and a URL that is not valid.
FETCH_ERRORS = (*UNREACHED, httpx.InvalidURL)


class HttpClient(httpx.AsyncClient):
    """httpx, with an error of its own for each connection that fails.

    If a server resets a connection at once, uvloop closes its socket before anyio reads it: an
    AttributeError then ended the process.
    """

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            return await super().send(request, **options)
        except AttributeError as error:
            if error.name != "getpeername":
                raise
            raise httpx.ConnectError("the connection was reset", request=request) from error


def http_client(timeout: float = 10.0) -> HttpClient:
    """Return a client for the providers' APIs. It uses no proxy for this machine, where the
    simulated providers run.
    """
    return HttpClient(
        timeout=timeout,
        follow_redirects=False,
        mounts={"all://127.0.0.1": None, "all://[::1]": None, "all://localhost": None},
    )


async def fetch(
    client: httpx.AsyncClient,
    request: ApiRequest,
    most_bytes: int = ANSWER_BYTES,
    *,
    with_body: bool = True,
) -> ApiResponse:
    """Perform one request. Raises FETCH_ERRORS. Without its body, an answer can have any body."""
    # httpx limits each read; a provider that sends its answer byte by byte would take for ever.
    seconds = client.timeout.read and 2 * client.timeout.read
    try:
        async with asyncio.timeout(seconds):
            return await _fetch(client, request, most_bytes, with_body)
    except TimeoutError:
        raise TimeoutError(f"no whole answer within {seconds:g} s") from None


async def _fetch(
    client: httpx.AsyncClient, request: ApiRequest, most_bytes: int, with_body: bool
) -> ApiResponse:
    async with client.stream(
        request.method, request.url, headers=dict(request.headers), content=request.body or None
    ) as response:
        body = b""
        # A body that is read to its end leaves a connection that can be used again.
        async for part in response.aiter_bytes() if with_body else response.aiter_raw():
            body += part
            if len(body) > most_bytes:
                if not with_body:
                    break
                raise AnswerTooLarge(
                    f"{request.method} {response.url.path}: more than {most_bytes} bytes"
                )
    headers = {name.lower(): value for name, value in response.headers.items()}
    return ApiResponse(response.status_code, body if with_body else b"", headers)


class RequestCoalescer:
    """Performs a request once for all callers that make the same request at the same time."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str, bytes], asyncio.Task[ApiResponse]] = {}

    async def fetch(self, client: httpx.AsyncClient, request: ApiRequest) -> ApiResponse:
        """As `fetch`, but wait for the same request if it is running already."""
        key = request.method, request.url, request.body
        while running := self._running.get(key):
            await asyncio.wait([running])
            # The caller that began it may have been cancelled.
            if not running.cancelled():
                return running.result()
        task = asyncio.create_task(fetch(client, request))
        self._running[key] = task
        # This callback runs before those of the waiting callers, so they find it removed.
        task.add_done_callback(lambda _: self._running.pop(key))
        return await task


async def run_exchange(
    client: httpx.AsyncClient,
    requests: Generator[ApiRequest, ApiResponse, Outcome],
    coalescer: RequestCoalescer,
) -> Outcome:
    """Perform the requests one after the other, send each answer back into the generator, and
    return its result. Raises what `fetch` raises, and what the generator raises.
    """
    try:
        request = next(requests)
        while True:
            perform = coalescer.fetch if request.shared else fetch
            request = requests.send(await perform(client, request))
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome


def retry_after(response: ApiResponse, now: datetime | None = None) -> float | None:
    """Return the seconds that the provider asks us to wait (RFC 9110 §10.2.3), at most an hour;
    None if its answer has no such header.
    """
    text = next((v for k, v in response.headers.items() if k.lower() == "retry-after"), "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_RETRY_AFTER)
    try:
        time = parsedate_to_datetime(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    seconds = (time - (now or datetime.now(UTC))).total_seconds()
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER)
