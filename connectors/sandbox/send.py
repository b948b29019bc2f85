"""Posts one callback as a provider would: signed where it signs."""

import contextlib

import httpx

from connectors.sandbox.deliver import now_micros, signed_headers
from connectors.sandbox.simulator import Callback
from connectors.sandbox.sites import SandboxConfig, sandbox_of


async def send(
    config: SandboxConfig,
    provider: str,
    body: bytes,
    content_type: str = "application/json",
    *,
    repeat: int = 1,
    example: str | None = None,
) -> list[int]:
    """Posts `body` to the edge so often; the status codes answered. Raises httpx.HTTPError.

    With `example`, the simulated provider is first told to agree: its link of the seed's examples
    gets that status, so that a lookup confirms what is sent. It is no error if it is not there.
    """
    callback = Callback(body, content_type)
    async with httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
        if example is not None:
            with contextlib.suppress(httpx.HTTPError):
                seed = {"provider": provider, "status": example}
                await client.post(f"{config.base_url}/control/seed", json=seed)
        site, sandbox = config.site(provider), sandbox_of(provider)
        answers = []
        for _ in range(repeat):
            headers = signed_headers(sandbox, site, callback, site.callback_url, now_micros())
            response = await client.post(site.callback_url, content=body, headers=headers)
            answers.append(response.status_code)
    return answers
