"""What the shell offers when the tab key is pressed."""

from collections.abc import Iterable, Iterator

import typer


def providers(incomplete: str) -> Iterator[str]:
    from connectors.registry import PROVIDERS

    return _beginning(PROVIDERS, incomplete)


def examples(context: typer.Context, incomplete: str) -> Iterator[str]:
    """Those of the provider that was named before, or of all where that cannot be told."""
    from connectors import examples
    from connectors.registry import PROVIDERS

    named = context.params.get("provider")
    known = [named] if named in PROVIDERS else PROVIDERS
    words = {word for provider in known for word in examples.names(provider)}
    return _beginning(sorted(words), incomplete)


def statuses(incomplete: str) -> Iterator[str]:
    from typing import get_args

    from schemas.records import Status

    words = get_args(Status)
    return _beginning(map(str.lower, words) if incomplete.islower() else words, incomplete)


def kinds(incomplete: str) -> Iterator[str]:
    from typing import get_args

    from schemas.records import AnomalyKind

    return _beginning(get_args(AnomalyKind), incomplete.upper())


def topics(incomplete: str) -> Iterator[str]:
    from connectors.registry import PROVIDERS
    from schemas.topics import all_topics

    return _beginning((topic.name for topic in all_topics(PROVIDERS)), incomplete)


def _beginning(words: Iterable[str], incomplete: str) -> Iterator[str]:
    return (word for word in words if word.startswith(incomplete))
