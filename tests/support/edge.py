"""An edge with one invented provider, between a client and a fake Kafka."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import SecretStr

from connectors.http.access import Access
from connectors.kafka.publisher import Publishes
from connectors.providers.base import (
    BadSignature,
    Facts,
    Inbound,
    KeysNeeded,
    Lookup,
    Provider,
    ProviderConfig,
)
from connectors.providers.raw import Raw
from connectors.receive.jwks import NoKeys
from connectors.receive.process import Edge
from schemas.records import LookupRequest, Status
from tests.support.codecs import CODECS

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Acme(Provider):
    """Signs with the header `x-acme-key`, whose value names a key of its key set."""

    kind = "acme"
    Config = ProviderConfig
    settlement = "elsewhere"
    STATUS: ClassVar[Mapping[str, Status]] = {}
    CREDENTIALS = ()
    kept_headers = frozenset({"x-acme-key"})

    def __init__(self, config: object = None, name: str = "") -> None:
        super().__init__(config, name)

    def key(self, body: bytes, content_type: str) -> str | None:
        if body == b"broken":
            raise ZeroDivisionError
        return "\ud800" if body == b"odd" else body[:20].decode("latin-1")

    def authenticate(self, inbound: Inbound, jwks: bytes | None, now: int) -> bool:
        kid = inbound.headers.get("x-acme-key")
        if kid == "crash":
            raise ZeroDivisionError
        if kid == "forged":
            raise BadSignature("forged")
        if kid and (jwks is None or kid.encode("latin-1") not in jwks):
            raise KeysNeeded(f"https://acme.invalid/{kid}", kid)
        return bool(kid)

    def read(self, raw: Raw) -> Facts:
        raise NotImplementedError

    def lookup(self, request: LookupRequest, now: int) -> Lookup:
        raise NotImplementedError


class KeyRing:
    """A key set that gets its second key only when asked afresh; there is none for `away`."""

    async def known(self, url: str) -> bytes:
        return b"old"

    async def fresh(self, url: str) -> bytes:
        if url.endswith("away"):
            raise NoKeys(url)
        return b"old new"


def an_edge(publisher: Publishes, access: Access | None = None) -> Edge:
    """Return an edge that takes callbacks at `acme`, and at `safe` with a path token."""
    providers, tokens = {"acme": Acme(), "safe": Acme()}, {"safe": SecretStr("s3cret")}
    return Edge(providers, tokens, publisher, CODECS, KeyRing(), access or Access("127.0.0.1"))
