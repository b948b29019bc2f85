"""The sender: waves of callbacks and live links; each callback is sent until it is acknowledged."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import httpx

from connectors.clock import micros_now
from connectors.providers.simulator import Callback
from connectors.sandbox.config import SandboxConfig, simulator_of
from connectors.sandbox.delivery import signed_headers
from tests.chaos.connection import NO_ANSWER, Connection
from tests.chaos.follower import Follower
from tests.chaos.ledger import Ledger, Sent, new_trace
from tests.chaos.live_links import LiveLink, live_links
from tests.chaos.poison import poison
from tests.chaos.sandbox import Doc, SandboxControl, StagedPlay
from tests.chaos.traffic import Sending, claims, sendings

WAVE_SECONDS = 3.0
_SPREAD_SECONDS = 9.0
_LINKS_IN_WAVE = 32
_CONNECTIONS = 48
_PAUSES = (0.2, 0.4, 0.8, 1.5)


@dataclass(slots=True)
class Sender:
    """Runs in its own thread until all is acknowledged. `expected` and `orders` are what the plans
    of the links sent so far require.
    """

    seed: int
    seconds: float
    sandbox: SandboxConfig
    follower: Follower
    ledger: Ledger = field(default_factory=Ledger)
    expected: list[Doc] = field(default_factory=list)
    orders: list[Doc] = field(default_factory=list)
    error: BaseException | None = None
    ready: threading.Event = field(default_factory=threading.Event)
    first_at: float = 0.0
    last_at: float = 0.0
    _idle: asyncio.LifoQueue[Connection] = field(init=False)
    _control: SandboxControl = field(init=False)
    _thread: threading.Thread = field(init=False)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:
            self.error = error

    async def _run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            self._idle = asyncio.LifoQueue()
            for _ in range(_CONNECTIONS):
                connection = Connection(self.sandbox.edge_url)
                stack.callback(connection.close)
                self._idle.put_nowait(connection)
            control = httpx.AsyncClient(timeout=30.0, trust_env=False)
            await stack.enter_async_context(control)
            database = self.sandbox.data_dir / "sandbox" / "sandbox.sqlite"
            self._control = SandboxControl(control, self.sandbox.base_url, database)
            waves = range(int(self.seconds / WAVE_SECONDS))
            # Every second wave is staged before the first fault, so that callbacks always flow.
            staged = {number: await self._stage(number) for number in waves[::2]}
            self.first_at = time.time()
            self.ready.set()
            async with asyncio.TaskGroup() as tasks:
                for number in waves:
                    tasks.create_task(self._send_wave(number, staged.get(number)))
                for link in live_links(self.seed, self.seconds):
                    tasks.create_task(self._live(link))
        self.last_at = time.time()

    async def _stage(self, number: int) -> StagedPlay:
        """Stage a play and register its links. The sender sends its callbacks later."""
        name = f"{self.seed}-{number}"
        play = await self._control.stage(_LINKS_IN_WAVE, self.seed * 1000 + number, name)
        async with asyncio.TaskGroup() as tasks:
            for registration in play.planned["registrations"]:
                tasks.create_task(self._register(registration))
        return play

    async def _send_wave(self, number: int, staged: StagedPlay | None) -> None:
        """Send the callbacks of a play, repeated and shuffled."""
        await asyncio.sleep(number * WAVE_SECONDS)
        name = f"{self.seed}-{number}"
        play = staged or await self._stage(number)
        genuine = [*play.callbacks, *claims(self._choose_claims(play, Random(name)))]
        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            regular = sendings(name, genuine, play.links, _SPREAD_SECONDS)
            for sending in (*regular, *poison(name, play.links, _SPREAD_SECONDS)):
                tasks.create_task(self._send(started, sending))

    async def _register(self, registration: Doc) -> None:
        """Register a link and wait until its row shows it: otherwise the link's order would depend
        on what comes first.
        """
        url = f"{self.sandbox.edge_url}/links"
        trace, header = new_trace()
        body = json.dumps(registration).encode()
        while (status := await self._post(url, body, {"traceparent": header})) != 202:
            if status is not None and status < 500:
                self.ledger.wrong_answers.append(f"registration: {status}")
                return
            await asyncio.sleep(_PAUSES[0])
        link = registration["provider"], registration["link_id"]
        self.ledger.registered[trace] = link
        while (row := self.follower.rows.get(link)) is None or row["registration"] is None:
            await asyncio.sleep(0.05)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int | None:
        """Return the status of the answer, or None without an answer."""
        connection = await self._idle.get()
        try:
            return await connection.post(url, body, headers)
        except NO_ANSWER:
            return None
        finally:
            self._idle.put_nowait(connection)

    def _choose_claims(self, play: StagedPlay, chance: Random) -> list[tuple[str, str]]:
        """Return links to claim a payment for that the provider denies: open ones, and a link that
        does not exist.
        """
        links = play.planned["links"]
        left_open = [link for link in links if link["outcome"] == "left open"]
        claimed = [link for link in left_open if link["provider"] in ("ping", "ipint")][:2]
        for link in claimed:
            link["anomalies"] = [*link["anomalies"], "CLAIM_DENIED"]
        unknown = {
            "provider": "ping",
            "link_id": f"never-issued-{chance.getrandbits(64):x}",
            "outcome": "never issued",
            "status": ["UNKNOWN"],
            "coverage": "NONE",
            "order_id": None,
            "anomalies": ["CLAIM_DENIED"],
            "refunded_minor": 0,
            "disputed_minor": 0,
        }
        self.expected += [*links, unknown]
        self.orders += play.planned["orders"]
        return [(link["provider"], link["link_id"]) for link in (*claimed, unknown)]

    async def _send(self, started: float, sending: Sending) -> None:
        await asyncio.sleep(max(0.0, started + sending.at - time.monotonic()))
        attempts = 0
        while not await self._attempt(sending):
            await asyncio.sleep(_PAUSES[min(attempts, len(_PAUSES) - 1)])
            attempts += 1

    async def _attempt(self, sending: Sending) -> bool:
        """Make one attempt under its own trace id. Return whether it was the last one."""
        provider, callback = sending.provider, sending.callback
        site, sandbox = self.sandbox.site(provider), simulator_of(provider)
        trace, header = new_trace()
        signed = callback if sending.kind != "forged" else Callback(callback.body + b" ")
        headers = signed_headers(sandbox, site, signed, site.callback_url, micros_now())
        headers.update({**sending.headers, "traceparent": header})
        status = await self._post(site.callback_url, callback.body, headers)
        return self.ledger.record(trace, Sent(provider, callback.body), status, sending.kind)

    async def _live(self, link: LiveLink) -> None:
        """Create a link and move it step by step. Its provider delivers the callbacks."""
        await asyncio.sleep(link.times[0])
        await self._control.create(link.creation)
        for step, at in zip(link.lifecycle.steps, link.times[1:], strict=True):
            await asyncio.sleep(max(0.0, at - (time.time() - self.first_at)))
            await self._control.move(link.provider, link.link_id, step)
        self.expected.append(link.expected)
        self.orders.append(link.order)
