"""The pipeline: engine, rules, agents, commands.

Downstream services use `consume`, and `streams.testing` in their tests.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.consumer import consume

__all__ = ["consume"]


def __getattr__(name: str) -> Any:
    # Imported on first use: every command imports this package, and few need a Kafka client.
    if name == "consume":
        from streams.consumer import consume

        return consume
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
