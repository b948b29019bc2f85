"""Completions that the shell offers for the tab key."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

from streams.local import data_folder

if TYPE_CHECKING:
    from connectors.providers.registry import Connections


def providers(incomplete: str) -> Iterator[str]:
    return _starting(_connections(), incomplete)


def examples(context: typer.Context, incomplete: str) -> Iterator[str]:
    """The examples of the provider on the command line; without a known one, of all providers."""
    from connectors.providers import examples

    known = _connections()
    kind = known.get(context.params.get("provider", ""))
    kinds = [kind] if kind else set(known.values())
    return _starting(sorted({name for kind in kinds for name in examples.names(kind)}), incomplete)


def topics(incomplete: str) -> Iterator[str]:
    from schemas.topics import all_topics

    return _starting((topic.name for topic in all_topics(_connections())), incomplete)


def _connections() -> "Connections":
    """The connections in the settings; the default ones while these are wrong."""
    from connectors.providers.registry import DEFAULT_CONNECTIONS
    from streams.environment import BadSettings

    try:
        return data_folder.settings().known_connections()
    except BadSettings:
        return DEFAULT_CONNECTIONS


def _starting(words: Iterable[str], incomplete: str) -> Iterator[str]:
    return (word for word in words if word.startswith(incomplete))
