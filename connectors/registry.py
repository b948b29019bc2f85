"""The providers. Adding one is a folder and a line here."""

from connectors.ipint import IPint
from connectors.peach import Peach
from connectors.ping import Ping
from connectors.provider import Provider
from connectors.truelayer import TrueLayer

PROVIDERS: dict[str, type[Provider]] = {
    "ping": Ping,
    "peach": Peach,
    "truelayer": TrueLayer,
    "ipint": IPint,
}
