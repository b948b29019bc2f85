"""Sends generated requests on raw sockets, and notes what each answer promises."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from connectors.providers.registry import PROVIDERS
from connectors.sandbox.config import SandboxConfig
from schemas.link_form import LinkForm, registration
from schemas.records import LinkRegistered
from tests.fuzz.requests import Exchange, Request
from tests.support.wire import Connection, Wire

# Longer than any of the server's own limits of time.
_ANSWER_SECONDS = 40.0
_CONNECTIONS = 12
_SHOWN_BYTES = 600

# What an acknowledgement promises: a topic, and what one of its records must have.
Promise = tuple[str, bytes, bytes, bytes]


@dataclass(slots=True)
class Ledger:
    """What was sent. `promised` was acknowledged; `open_` may be kept, and has no answer."""

    promised: Counter[Promise] = field(default_factory=Counter)
    open_: Counter[Promise] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def note(self, request: Request, sent: bytes, whole: bytes | None, status: int | None) -> None:
        """Note a request with the status of its answer."""
        promise = promise_of(request, whole)
        if status is None:
            if promise:
                self.open_[promise] += 1
            return
        self.statuses[status] += 1
        # Only a few exports run at once, and 503 is what a further one gets.
        if status >= 500 and not (status == 503 and b".csv" in request.target):
            self.problem(f"{status} for", sent)
        is_callback = request.provider is not None and status == 200
        if is_callback or status == 202:
            if promise is None:
                self.problem(f"{status} for what is not whole", sent)
            else:
                self.promised[promise] += 1

    def problem(self, what: str, sent: bytes) -> None:
        rest = f" … {len(sent)} bytes" if len(sent) > _SHOWN_BYTES else ""
        self.problems.append(f"{what} {sent[:_SHOWN_BYTES]!r}{rest}")


def promise_of(request: Request, whole: bytes | None) -> Promise | None:
    """Return what an acknowledgement of the request promises."""
    if not whole or request.method != b"POST":
        return None
    if request.provider:
        topic = f"callbacks.{request.provider}"
        return topic, whole, request.header(b"content-type"), request.header(b"content-encoding")
    try:
        link = registration(LinkForm.model_validate_json(whole), PROVIDERS, 0)
    except ValueError:
        return None
    return "links", registration_of(link), b"", b""


def registration_of(link: LinkRegistered) -> bytes:
    """Return a registration without its time, which the edge sets."""
    return json.dumps({**link, "registered_at": 0}, sort_keys=True).encode()


async def send(
    wires: Mapping[str, Wire],
    exchanges: Sequence[Exchange],
    sandbox: SandboxConfig,
    ledger: Ledger,
) -> None:
    """Send all, a few at once. `wires` lead to the processes."""
    waiting = iter(exchanges)

    async def work() -> None:
        for exchange in waiting:
            await _exchange(wires[exchange.process], exchange, sandbox, ledger)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(_CONNECTIONS):
            tasks.create_task(work())


async def _exchange(wire: Wire, exchange: Exchange, sandbox: SandboxConfig, ledger: Ledger) -> None:
    requests = [request.with_signature(sandbox) for request in exchange.requests]
    wires = [request.wire() for request in requests]
    # The server waits for the rest of a request that is not whole, unless its client ends.
    end = "end" if exchange.end == "answers" and wires[-1][1] is None else exchange.end
    data = b"".join(sent for sent, _ in wires)
    places = (0, *(place for place in exchange.splits if place < len(data)), len(data))
    parts = [data[start:stop] for start, stop in pairwise(places)]
    statuses: list[int | None] = []
    connection = await wire.connect()
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            with contextlib.suppress(ConnectionError):
                await connection.send(*parts, end=end == "end")
            if end != "abort":
                await _read(connection, requests, statuses)
    except TimeoutError:  # an OSError, too
        ledger.problem(f"no answer within {_ANSWER_SECONDS:.0f} s to", data)
    except (OSError, EOFError):
        # The server may close early: it has refused something.
        if not statuses and end != "abort":
            ledger.problem("no answer to", data)
    finally:
        wire.close(connection)
    statuses += [None] * (len(requests) - len(statuses))
    for request, (sent, whole), status in zip(requests, wires, statuses, strict=True):
        ledger.note(request, sent, whole, status)


async def _read(
    connection: Connection, requests: Sequence[Request], statuses: list[int | None]
) -> None:
    for request in requests:
        status, _ = await connection.answer(to_head=request.method == b"HEAD")
        statuses.append(status)
