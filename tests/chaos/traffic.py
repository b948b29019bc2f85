"""The callbacks to send: the genuine ones, repeated, and unknown, broken and forged ones."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from connectors.providers.registry import PROVIDERS
from connectors.providers.simulator import Callback

Kind = Literal["genuine", "unknown", "broken", "notice", "forged", "poison", "refused"]
# Their signatures are checked. The other providers' callbacks are always claims.
SIGNING = ("peach", "truelayer")
_MOST_COPIES = 6


@dataclass(frozen=True, slots=True)
class Sending:
    """One callback to send, `at` seconds from the start of its wave."""

    at: float
    provider: str
    callback: Callback
    kind: Kind
    headers: Mapping[str, str] = field(default_factory=dict)


def sendings(
    seed: str,
    genuine: Sequence[tuple[str, Callback]],
    links: Sequence[tuple[str, str]],
    spread: float,
) -> list[Sending]:
    """Return the genuine callbacks, repeated and shuffled, and a fixed number of bad ones."""
    chance = Random(seed)

    def copies(provider: str, callback: Callback, kind: Kind, most: int) -> Iterator[Sending]:
        for _ in range(1 if kind == "forged" else chance.randint(1, most)):
            yield Sending(chance.uniform(0, spread), provider, callback, kind)

    result = [
        s for name, callback in genuine for s in copies(name, callback, "genuine", _MOST_COPIES)
    ]
    for provider in sorted(PROVIDERS):
        link_id = chance.choice([link_id for name, link_id in links if name == provider])
        for kind, body in _bad(provider, link_id, seed):
            result += copies(provider, Callback(body), kind, 3)
    return sorted(result, key=lambda sending: sending.at)


def _bad(provider: str, link_id: str, mark: str) -> Iterator[tuple[Kind, bytes]]:
    yield "unknown", _json(unknown_status(provider, link_id, mark))
    yield "broken", b'{"payment_link_id": "' + mark.encode()
    yield "broken", _json([provider, mark])
    yield "broken", _json({"status": "COMPLETED", "mark": mark, "payment_link_id": 7})
    if provider == "truelayer":
        refund = {"type": "refund_executed", "event_id": f"refund-{mark}", "refund_id": mark}
        yield "notice", _json(refund)
    if provider in SIGNING:
        yield "forged", _json(unknown_status(provider, link_id, f"forged {mark}"))


def unknown_status(provider: str, link_id: str, mark: str) -> dict[str, object]:
    """Return a callback of a known link with an unknown status."""
    words: dict[str, dict[str, object]] = {
        "ping": {"payment_link_id": link_id, "status": "TELEPORTED", "mark": mark},
        "peach": {"paymentId": link_id, "status": "levitating", "mark": mark},
        "truelayer": {
            "type": "payment_link_vanished",
            "event_version": 1,
            "event_id": f"vanished-{mark}",
            "payment_link_id": link_id,
        },
        "ipint": {"invoice_id": link_id, "status": "MELTED", "mark": mark},
    }
    return words[provider]


def claims(links: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Callback]]:
    """Yield false claims of payment for unsigned providers, which the provider's API must deny."""
    names = {"ping": "payment_link_id", "ipint": "invoice_id"}
    for provider, link_id in links:
        if provider in names:
            yield provider, Callback(_json({names[provider]: link_id, "status": "COMPLETED"}))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
