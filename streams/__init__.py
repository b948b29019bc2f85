"""The pipeline: engine, rules, agents, commands. `consume` is for services downstream of it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.consuming import consume

__all__ = ["consume"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: every command imports this package, few need a Kafka client.
    if name == "consume":
        from streams.consuming import consume

        return consume
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
