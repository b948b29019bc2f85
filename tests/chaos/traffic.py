"""What is sent beyond what the providers say: repeats, unknown words, broken bodies, forgeries."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from connectors.registry import PROVIDERS
from connectors.sandbox.simulator import Callback

Kind = Literal["said", "unknown", "broken", "notice", "forged"]
# Of whom a forged signature is refused; the others' callbacks are claims, whoever sends them.
SIGNING = ("peach", "truelayer")
_MOST_COPIES = 6


@dataclass(frozen=True, slots=True)
class Sending:
    """One callback to be sent `at` seconds from the start of its wave."""

    at: float
    provider: str
    callback: Callback
    kind: Kind


def sendings(
    seed: str, said: Sequence[tuple[str, Callback]], links: Sequence[tuple[str, str]], spread: float
) -> list[Sending]:
    """What the providers said, repeated and shuffled, with a known number of bad ones among it."""
    chance = Random(seed)
    found = [
        Sending(chance.uniform(0, spread), provider, callback, "said")
        for provider, callback in said
        for _ in range(chance.randint(1, _MOST_COPIES))
    ]
    for provider in sorted(PROVIDERS):
        of_provider = [link_id for name, link_id in links if name == provider]
        for kind, body in _bad(provider, chance.choice(of_provider), seed):
            copies = 1 if kind == "forged" else chance.randint(1, 3)
            callback = Callback(body)
            found += [
                Sending(chance.uniform(0, spread), provider, callback, kind) for _ in range(copies)
            ]
    return sorted(found, key=lambda sending: sending.at)


def _bad(provider: str, link_id: str, mark: str) -> Iterator[tuple[Kind, bytes]]:
    yield "unknown", _json(_unknown(provider, link_id, mark))
    yield "broken", b'{"payment_link_id": "' + mark.encode()
    yield "broken", _json([provider, mark])
    yield "broken", _json({"status": "COMPLETED", "mark": mark, "payment_link_id": 7})
    if provider == "truelayer":
        refund = {"type": "refund_executed", "event_id": f"refund-{mark}", "refund_id": mark}
        yield "notice", _json(refund)
    if provider in SIGNING:
        yield "forged", _json(_unknown(provider, link_id, f"forged {mark}"))


def _unknown(provider: str, link_id: str, mark: str) -> dict[str, object]:
    """A word nobody knows, about a link we know."""
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


def claims(chance: Random, links: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Callback]]:
    """Forged claims of payment, unsigned where nobody signs: the provider is to deny them."""
    for provider, link_id in links:
        if provider == "ping":
            yield provider, Callback(_json({"payment_link_id": link_id, "status": "COMPLETED"}))
        if provider == "ipint":
            yield provider, Callback(_json({"invoice_id": link_id, "status": "COMPLETED"}))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
