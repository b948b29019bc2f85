"""The example bodies in the providers' documents: package data of each provider's folder."""

from importlib.resources import files
from importlib.resources.abc import Traversable

_CONTENT_TYPES = {"json": "application/json", "txt": "application/x-www-form-urlencoded"}


def names(provider: str) -> list[str]:
    """Return the names of a provider's examples, sorted."""
    return sorted(_files(provider))


def body(provider: str, name: str) -> bytes:
    """Return the body of one example. Raises KeyError with the names of the existing examples."""
    return _file(provider, name).read_bytes()


def content_type(provider: str, name: str) -> str:
    """Return the content type that the provider sends. Raises KeyError like `body`."""
    return _CONTENT_TYPES[_file(provider, name).name.rpartition(".")[2]]


def _files(provider: str) -> dict[str, Traversable]:
    folder = files(f"connectors.providers.{provider}") / "examples"
    parts = ((file, *file.name.rpartition(".")) for file in folder.iterdir())
    return {name: file for file, name, _, ending in parts if ending in _CONTENT_TYPES}


def _file(provider: str, name: str) -> Traversable:
    known = _files(provider)
    if name not in known:
        names = ", ".join(sorted(known))
        raise KeyError(f"{provider} has no example {name!r}; its examples are {names}")
    return known[name]
