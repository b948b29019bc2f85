"""A person or a program requests a lookup of a link."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from connectors.board import lookups
from connectors.kafka.cluster import Cluster
from connectors.providers.base import Provider
from connectors.providers.ipint import IPint, IPintConfig
from connectors.providers.ping import Ping, PingConfig
from schemas.codec import LOOKUP_REQUEST
from tests.connectors.board.conftest import (
    BEARER,
    BROWSER,
    NO_CLUSTER,
    OWN_PAGE,
    client_of,
    config,
    opened_board,
)
from tests.connectors.board.samples import Make, save
from tests.support.codecs import CODECS
from tests.support.reading import read_all

PING = Ping(PingConfig.model_validate({"tenant_id": "t", "api_secret": "s"}))
IPINT = IPint(IPintConfig.model_validate({"api_key": "k", "api_secret": "s"}))


@asynccontextmanager
async def board(
    database_url: str, *apis: Provider, cluster: Cluster = NO_CLUSTER
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a board that has the APIs of these providers, and three links."""
    providers = {provider.name: provider for provider in apis}
    with opened_board(config(database_url, cluster, apis=providers)) as board:
        async with client_of(board) as client:
            make = Make()
            paid = make.status(status="PAID", payment_id="payment-1")
            ended = make.status("ended", provider="ipint", status="PAID")
            claimed = make.status("a/b c", verified=False)
            save(board.store, make.statuses(paid, ended, claimed))
            yield client


@pytest.mark.kafka
async def test_lookup_is_requested_by_programs_and_people(
    kafka: Cluster, database_url: str
) -> None:
    async with board(database_url, PING, cluster=kafka) as client:
        shown = (await client.get("/links/ping/link-1", headers=BROWSER)).text
        assert 'action="/links/ping/link-1/lookup"' in shown
        answer = await client.post("/links/ping/link-1/lookup", headers=BEARER)
        assert (answer.status_code, answer.json()) == (
            *(202, {"provider": "ping", "link_id": "link-1"}),
        )
        answer = await client.post("/links/ping/a%2Fb%20c/lookup", headers=OWN_PAGE)
        assert (answer.status_code, answer.headers["location"]) == (303, "/links/ping/a%2Fb%20c")
    requests = {
        m.key(): CODECS.decode(LOOKUP_REQUEST, m.value()) for m in read_all(kafka, "lookups")
    }
    assert {key: (r["reason"], r["issued"], r["payment_id"]) for key, r in requests.items()} == {
        b"ping:link-1": ("DETAILS", True, "payment-1"),
        # Anybody may have invented it.
        b"ping:a/b c": ("DETAILS", False, None),
    }


@pytest.mark.parametrize(
    ("path", "status", "error"),
    [
        ("ping/unknown", 404, "no such link"),
        ("peach/link-1", 404, "no such link"),
        ("ipint/ended", 409, "ipint forbids lookups of a link that has ended"),
        # The cluster is away.
        ("ping/link-1", 503, "Kafka does not take the request now"),
    ],
)
async def test_lookup_that_is_not_possible_says_why(
    database_url: str, path: str, status: int, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "_SECONDS", 0.1)
    async with board(database_url, PING, IPINT) as client:
        answer = await client.post(f"/links/{path}/lookup", headers=BEARER)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(error)


async def test_lookup_needs_credentials_of_the_provider(database_url: str) -> None:
    async with board(database_url, Ping(PingConfig())) as client:
        answer = await client.post("/links/ping/link-1/lookup", headers=BEARER)
        shown = (await client.get("/links/ping/link-1", headers=BROWSER)).text
    assert (answer.status_code, answer.json()["error"]) == (
        *(409, "the credentials for the API of ping are not set"),
    )
    assert "/lookup" not in shown
