"""The registered providers, and the connections: accounts at them. A new provider is a folder and
one line here.
"""

import re
from collections.abc import Mapping

from connectors.providers.base import Provider
from connectors.providers.ipint import IPint
from connectors.providers.peach import Peach
from connectors.providers.ping import Ping
from connectors.providers.truelayer import TrueLayer
from schemas.limits import CONNECTION_NAME_CHARACTERS

PROVIDERS: dict[str, type[Provider]] = {
    "ping": Ping,
    "peach": Peach,
    "truelayer": TrueLayer,
    "ipint": IPint,
}
# The provider of each connection, by the connection's name.
Connections = Mapping[str, str]
# By default a provider has one connection, with its own name.
DEFAULT_CONNECTIONS: Connections = {name: name for name in PROVIDERS}

# The name is a part of variables, URLs, topics, keys (before the colon) and consumer groups.
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# Paths of the sandbox beside the simulated APIs, and the label of callbacks for no connection.
_RESERVED = frozenset({"control", "healthz", "readyz", "metrics", "unknown"})


def check_name(name: str, of: str) -> None:
    """Raise ValueError if this can be no name of a connection, or of what has names like them."""
    if len(name) > CONNECTION_NAME_CHARACTERS or not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[: CONNECTION_NAME_CHARACTERS + 1]!r} is no name of {of}: it has 1 to "
            f"{CONNECTION_NAME_CHARACTERS} of a-z, 0-9 and single _ between them, a letter first"
        )


def check_connection(name: str, provider: str) -> None:
    """Raise ValueError if there can be no connection of this name to the provider."""
    check_name(name, "a connection")
    if name in _RESERVED:
        raise ValueError(f"the name {name!r} is reserved; choose another")
    if provider not in PROVIDERS:
        problem = f"unknown provider {provider!r}" if provider else "no provider"
        raise ValueError(f"{problem} for {name!r}; name one of {', '.join(PROVIDERS)}")
    if name in PROVIDERS and name != provider:
        raise ValueError(f"{name!r} is the name of another provider than {provider}")
