"""The sender: waves of callbacks and single lives, each tried until it is acknowledged."""

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
from connectors.sandbox.deliver import signed_headers
from connectors.sandbox.simulator import Callback
from connectors.sandbox.sites import SandboxConfig, sandbox_of
from tests.chaos.connection import NO_ANSWER, Connection
from tests.chaos.follower import Follower
from tests.chaos.ledger import Ledger, Sent, new_trace
from tests.chaos.lives import Life, lives
from tests.chaos.sandboxing import Doc, SandboxControl, Staged
from tests.chaos.traffic import Sending, claims, sendings

WAVE_SECONDS = 3.0
_SPREAD_SECONDS = 9.0
_LINKS_IN_WAVE = 32
_AT_ONCE = 48
_PAUSES = (0.2, 0.4, 0.8, 1.5)


@dataclass(slots=True)
class Sender:
    """Runs in a thread of its own until all is acknowledged. `expected` are links as plans have
    them."""

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
            for _ in range(_AT_ONCE):
                connection = Connection(self.sandbox.edge_url)
                stack.callback(connection.close)
                self._idle.put_nowait(connection)
            control = httpx.AsyncClient(timeout=30.0, trust_env=False)
            await stack.enter_async_context(control)
            database = self.sandbox.data_dir / "sandbox" / "sandbox.sqlite"
            self._control = SandboxControl(control, self.sandbox.base_url, database)
            numbers = range(int(self.seconds / WAVE_SECONDS))
            # Every other wave is known before anything goes wrong, so that callbacks always flow.
            known = {number: await self._stage(number) for number in numbers[::2]}
            self.first_at = time.time()
            self.ready.set()
            async with asyncio.TaskGroup() as tasks:
                for number in numbers:
                    tasks.create_task(self._wave(number, known.get(number)))
                for life in lives(self.seed, self.seconds):
                    tasks.create_task(self._live(life))
        self.last_at = time.time()

    async def _stage(self, number: int) -> Staged:
        """A play whose callbacks are to be sent by us, its links registered."""
        name = f"{self.seed}-{number}"
        staged = await self._control.stage(_LINKS_IN_WAVE, self.seed * 1000 + number, name)
        async with asyncio.TaskGroup() as tasks:
            for registration in staged.planned["registrations"]:
                tasks.create_task(self._register(registration))
        return staged

    async def _wave(self, number: int, known: Staged | None) -> None:
        """Sends the callbacks of a play, repeated and shuffled."""
        await asyncio.sleep(number * WAVE_SECONDS)
        name = f"{self.seed}-{number}"
        staged = known or await self._stage(number)
        claimed = self._claim(staged, Random(name))
        said = [*staged.callbacks, *claims(Random(name), claimed)]
        started = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for sending in sendings(name, said, staged.links, _SPREAD_SECONDS):
                tasks.create_task(self._send_at(started, sending))

    async def _register(self, registration: Doc) -> None:
        """Registers a link and waits until that has had its effect: which order a link belongs to
        would otherwise depend on what comes first."""
        url, key = f"{self.sandbox.edge_url}/links", registration["link_id"]
        trace, header = new_trace()
        body = json.dumps(registration).encode()
        while (status := await self._post(url, body, {"traceparent": header})) != 202:
            if status is not None and status < 500:
                self.ledger.refused.append(f"registration: {status}")
                return
            await asyncio.sleep(_PAUSES[0])
        link = registration["provider"], key
        self.ledger.registered[trace] = link
        while (row := self.follower.rows.get(link)) is None or row["registration"] is None:
            await asyncio.sleep(0.05)

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int | None:
        """The status of the answer; None when there was none."""
        connection = await self._idle.get()
        try:
            return await connection.post(url, body, headers)
        except NO_ANSWER:
            return None
        finally:
            self._idle.put_nowait(connection)

    def _claim(self, staged: Staged, chance: Random) -> list[tuple[str, str]]:
        """Links of which payment will be claimed in vain: open ones, and one that is none."""
        unknown = {"provider": "ping", "link_id": f"never-issued-{chance.getrandbits(64):x}"}
        expected = [*staged.planned["links"]]
        left_open = [link for link in expected if link["outcome"] == "left open"]
        claimed = [link for link in left_open if link["provider"] in ("ping", "ipint")][:2]
        for link in claimed:
            link["anomalies"] = [*link["anomalies"], "CLAIM_DENIED"]
        about = {"outcome": "never issued", "status": ["UNKNOWN"], "coverage": "NONE"}
        denied = unknown | about | {"order_id": None, "anomalies": ["CLAIM_DENIED"]}
        self.expected += [*expected, denied]
        self.orders += staged.planned["orders"]
        return [(link["provider"], link["link_id"]) for link in (*claimed, denied)]

    async def _send_at(self, started: float, sending: Sending) -> None:
        await asyncio.sleep(max(0.0, started + sending.at - time.monotonic()))
        tries = 0
        while not await self._attempt(sending):
            await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1

    async def _attempt(self, sending: Sending) -> bool:
        """One attempt, in the ledger under a trace id of its own; True when none is to follow."""
        provider, callback = sending.provider, sending.callback
        site, sandbox = self.sandbox.site(provider), sandbox_of(provider)
        trace, header = new_trace()
        signed = callback if sending.kind != "forged" else Callback(callback.body + b" ")
        headers = signed_headers(sandbox, site, signed, site.callback_url, micros_now())
        headers["traceparent"] = header
        status = await self._post(site.callback_url, callback.body, headers)
        sent = Sent(provider, callback.body)
        return self.ledger.answered(trace, sent, status, sending.kind)

    async def _live(self, life: Life) -> None:
        """A link that lives while everything happens; its provider delivers the callbacks."""
        await asyncio.sleep(life.times[0])
        await self._control.create(life.creation)
        for word, at in zip(life.words, life.times[1:], strict=True):
            await asyncio.sleep(max(0.0, at - (time.time() - self.first_at)))
            await self._control.move(life.provider, life.link_id, word)
        self.expected.append(life.expected)
        self.orders.append(life.order)
