"""The providers' own example bodies, as printed: package data of each provider's folder."""

from importlib.resources import files
from importlib.resources.abc import Traversable

_CONTENT_TYPES = {"json": "application/json", "txt": "application/x-www-form-urlencoded"}


def names(provider: str) -> list[str]:
    """The names of a provider's examples, sorted."""
    return sorted(file.name.rpartition(".")[0] for file in _files(provider))


def body(provider: str, name: str) -> bytes:
    """The body of one example. Raises KeyError naming the examples there are."""
    return _file(provider, name).read_bytes()


def content_type(provider: str, name: str) -> str:
    """The content type the provider sends it with. Raises KeyError as `body` does."""
    return _CONTENT_TYPES[_file(provider, name).name.rpartition(".")[2]]


def _files(provider: str) -> list[Traversable]:
    folder = files(f"connectors.{provider}") / "examples"
    return [file for file in folder.iterdir() if file.name.rpartition(".")[2] in _CONTENT_TYPES]


def _file(provider: str, name: str) -> Traversable:
    for file in _files(provider):
        if file.name.rpartition(".")[0] == name:
            return file
    raise KeyError(f"{provider} has no example {name!r}; there are {', '.join(names(provider))}")
