"""`linkstatus send`: posts callbacks as the provider does, optionally repeated or shuffled."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import httpx

from connectors.clock import micros_now
from connectors.providers.simulator import Callback
from connectors.reasons import reason_of
from connectors.sandbox.config import SandboxConfig
from connectors.sandbox.delivery import signed_headers

_MAX_MESSAGE = 200


class Post(NamedTuple):
    """One callback. `example` is its name if it is one of the provider's examples."""

    name: str
    body: bytes
    content_type: str = "application/json"
    example: str | None = None


class Reply(NamedTuple):
    """The result of one post. `status` is None if there was no response; `message` says why."""

    name: str
    status: int | None
    acknowledged: bool
    seconds: float
    message: str


def repeated(posts: Sequence[Post], repeat: int, random: Random | None) -> list[Post]:
    """Return all posts `repeat` times, round by round, or shuffled with `random`."""
    result = list(posts) * repeat
    if random is not None:
        random.shuffle(result)
    return result


async def send(
    config: SandboxConfig,
    provider: str,
    posts: Sequence[Post],
    report: Callable[[Reply], None],
    *,
    delay: float = 0.0,
    signed_url: str | None = None,
) -> None:
    """Post the callbacks in turn, `delay` seconds apart. Raises httpx.ConnectError.

    `signed_url` is the receiver's own URL, if it differs from the called one.
    """
    site, simulator = config.site(provider), config.simulator(provider)
    async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
        for number, post in enumerate(posts):
            if number:
                await asyncio.sleep(delay)
            callback = Callback(post.body, post.content_type)
            url = signed_url or site.callback_url
            headers = signed_headers(simulator, site, callback, url, micros_now())
            started = time.monotonic()
            status, acknowledged = None, False
            try:
                response = await client.post(site.callback_url, content=post.body, headers=headers)
            except httpx.ConnectError:
                raise  # The receiver does not run: the next post would fail too.
            except httpx.TransportError as error:
                message = reason_of(error)
            else:
                status, message = response.status_code, response.text[:_MAX_MESSAGE].strip()
                acknowledged = simulator.acknowledged(status, response.content)
            report(Reply(post.name, status, acknowledged, time.monotonic() - started, message))


async def set_examples(config: SandboxConfig, provider: str, posts: Sequence[Post]) -> None:
    """Give the example link the status of each example in turn, so that a lookup confirms the
    last. A sandbox that does not run is not an error.
    """
    async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
        with contextlib.suppress(httpx.HTTPError):
            for post in posts:
                if post.example is not None:
                    form = {"provider": provider, "name": post.example}
                    await client.post(f"{config.base_url}/control/example", json=form)
