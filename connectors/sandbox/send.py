"""Posts callbacks as a provider would: signed where it signs, and if asked again and again, in any
order.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import httpx

from connectors.clock import micros_now
from connectors.sandbox.deliver import signed_headers
from connectors.sandbox.simulator import Callback
from connectors.sandbox.sites import SandboxConfig, sandbox_of

_SHOWN = 200


class Post(NamedTuple):
    """One callback. `example` is the name of one of the provider's own, if it is that."""

    name: str
    body: bytes
    content_type: str = "application/json"
    example: str | None = None


class Reply(NamedTuple):
    """What came of it: the status answered, or None and why there was none."""

    name: str
    status: int | None
    acknowledged: bool
    seconds: float
    said: str


def arranged(posts: Sequence[Post], repeat: int, chance: Random | None) -> list[Post]:
    """Each so often, one round after the other; with `chance` in any order."""
    made = list(posts) * repeat
    if chance is not None:
        chance.shuffle(made)
    return made


async def send(
    config: SandboxConfig,
    provider: str,
    posts: Sequence[Post],
    tell: Callable[[Reply], None],
    *,
    delay: float = 0.0,
    signed_url: str | None = None,
) -> None:
    """Posts one after the other, `delay` seconds apart. Raises httpx.ConnectError.

    `signed_url` is what the receiver takes for its own URL, if it is not the one called."""
    site, sandbox = config.site(provider), sandbox_of(provider)
    async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
        for number, post in enumerate(posts):
            if number:
                await asyncio.sleep(delay)
            callback = Callback(post.body, post.content_type)
            url = signed_url or site.callback_url
            headers = signed_headers(sandbox, site, callback, url, micros_now())
            started = time.monotonic()
            answer = await _posted(client, site.callback_url, post.body, headers)
            seconds = time.monotonic() - started
            if isinstance(answer, httpx.Response):
                known = sandbox.acknowledged(answer.status_code, answer.content)
                said = answer.text[:_SHOWN].strip()
                tell(Reply(post.name, answer.status_code, known, seconds, said))
            else:
                tell(Reply(post.name, None, False, seconds, repr(answer)))


async def _posted(
    client: httpx.AsyncClient, url: str, body: bytes, headers: httpx.Headers
) -> httpx.Response | httpx.TransportError:
    try:
        return await client.post(url, content=body, headers=headers)
    except httpx.ConnectError:
        raise  # nobody is there: neither will be for the next
    except httpx.TransportError as error:
        return error


async def agree(config: SandboxConfig, provider: str, posts: Sequence[Post]) -> None:
    """Tells the simulated provider what is said in its name, so that a lookup confirms it.

    Its link of the seed's examples gets the status of each example, in this order, and keeps the
    last. It is no error if the sandbox is not there."""
    async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
        with contextlib.suppress(httpx.HTTPError):
            for post in posts:
                if post.example is not None:
                    seed = {"provider": provider, "status": post.example}
                    await client.post(f"{config.base_url}/control/seed", json=seed)
