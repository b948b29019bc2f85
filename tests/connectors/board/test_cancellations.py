"""A person cancels a link: the page asks first, calls once, shows the answer and records it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.kafka.cluster import Cluster
from connectors.providers.base import Provider
from connectors.providers.ping import Ping, PingConfig
from connectors.providers.registry import PROVIDERS
from schemas.codec import NOTICE
from tests.connectors.board.conftest import (
    BEARER,
    BROWSER,
    NO_CLUSTER,
    OWN_PAGE,
    READING,
    client_of,
    config,
    opened_board,
)
from tests.connectors.board.samples import Make, save
from tests.connectors.sandbox.sandboxes import free_socket, served
from tests.support.codecs import CODECS
from tests.support.reading import read_all
from tests.support.waiting import until

LINK = "/links/ping/link-1"
CANCEL = f"{LINK}/cancel"


class Api:
    """Ping's API, which gives set answers and remembers its requests."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str, bytes]] = []
        self.answer = Response(status_code=204)
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self, request: Request) -> Response:
        self.requests.append((request.method, request.url.path, await request.body()))
        await self.answers.wait()
        return self.answer


@asynccontextmanager
async def calling() -> AsyncIterator[Api]:
    api = Api()
    app = Starlette(routes=[Route("/{rest:path}", api.__call__, methods=["GET", "PUT", "DELETE"])])
    async with served(app, free_socket()) as api.url:
        yield api


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with calling() as api:
        yield api


def ping(api: Api, **settings: str) -> Ping:
    credentials = {"tenant_id": "t-1", "api_secret": "s3cret-of-ping"}
    return Ping(PingConfig.model_validate({"links_url": api.url, **credentials, **settings}))


@asynccontextmanager
async def board(
    database_url: str, *apis: Provider, cluster: Cluster = NO_CLUSTER, seconds: float = 10
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a board that knows links in every status, and may ask these providers."""
    providers = {provider.name: provider for provider in apis}
    of_board = config(database_url, cluster, apis=providers, answer_seconds=seconds)
    with opened_board(of_board) as board:
        async with client_of(board) as client:
            make = Make()
            links = [make.status(), make.status("paid", status="PAID")]
            links.append(make.status("a/b c", status="OPENED"))
            links.append(make.status("t-1", provider="truelayer"))
            save(board.store, make.statuses(*links))
            yield client


@pytest.mark.kafka
async def test_person_cancels_a_link(kafka: Cluster, api: Api, database_url: str) -> None:
    async with board(database_url, ping(api), cluster=kafka) as client:
        (target,) = re.findall(r'class="button" href="([^"]+)"', (await page(client, LINK)).text)
        form = await page(client, target)
        assert "cannot be undone" in form.text
        assert f'method="post" action="{CANCEL}"' in form.text
        assert api.requests == []  # the form does nothing
        answer = await client.post(CANCEL, data={"by": " Ada "}, headers=OWN_PAGE)
        assert (answer.status_code, answer.headers["location"]) == (303, LINK)
        path = "/api/v1/payment_links/link-1/cancel"
        assert api.requests == [("PUT", path, b"{}")]
        shown = (await page(client, LINK)).text
        assert "Cancellation by Ada on the page, from 127.0.0.1: it is cancelled;" in shown
        assert "next lookup (ping: 204)." in shown
        assert "created" in shown  # nothing has changed by itself
    (message,) = read_all(kafka, "notices")
    notice = CODECS.decode(NOTICE, message.value())
    assert message.key() == b"ping:link-1"
    assert dict(message.headers() or [])["event-id"] == notice["event_id"].encode()
    assert (notice["kind"], notice["provider"], notice["subject_id"], notice["status"]) == (
        *("cancel_requested", "ping", "link-1"),
        "done",
    )
    assert notice["attributes"] == {"by": "Ada on the page, from 127.0.0.1", "answer": "204"}


async def page(client: httpx.AsyncClient, path: str) -> httpx.Response:
    return await client.get(path, headers=BROWSER)


ANSWERS = [
    (Response(status_code=204), 200, "DONE", "204"),
    (Response('{"error": "forbidden"}', 403), 409, "REFUSED", "403 forbidden"),
    (Response(status_code=404), 404, "NOT_KNOWN", "404"),
    (Response(status_code=503), 503, "LATER", "503"),
    (
        Response(r'{"error": "card 4111111111111111 \ud800"}', 422),
        *(409, "REFUSED", "422 card 411111•••1111 ?"),
    ),
]


@pytest.mark.kafka
async def test_program_gets_the_answer_of_the_provider(
    kafka: Cluster, api: Api, database_url: str
) -> None:
    async with board(database_url, ping(api), cluster=kafka) as client:
        for api.answer, status, outcome, message in ANSWERS:
            got = await client.post(CANCEL, headers=BEARER)
            assert (got.status_code, "error" in got.json()) == (status, status != 200)
            expected = {"outcome": outcome, "message": message, "recorded": True}
            assert {n: v for n, v in got.json().items() if n != "error"} == expected
            shown = (await page(client, LINK)).text
            assert message in shown
            assert "s3cret" not in shown
            assert ('class="job wrong"' in shown) == (status != 200)
    noted = [CODECS.decode(NOTICE, message.value()) for message in read_all(kafka, "notices")]
    recorded = [(n["status"], n["attributes"]["answer"]) for n in noted]
    assert recorded == [(outcome.lower(), message) for _, _, outcome, message in ANSWERS]


async def test_answer_is_shown_even_if_kafka_cannot_record_it(api: Api, database_url: str) -> None:
    async with board(database_url, ping(api)) as client:
        got = await client.post(CANCEL, headers=BEARER)
        assert got.status_code == 200
        assert got.json() == {"outcome": "DONE", "message": "204", "recorded": False}
        assert "has no record of it" in (await page(client, LINK)).text


@pytest.mark.kafka
async def test_outcome_is_unknown_if_the_provider_does_not_answer(
    kafka: Cluster, api: Api, database_url: str
) -> None:
    api.answers.clear()
    async with board(database_url, ping(api), cluster=kafka, seconds=0.2) as client:
        got = await client.post(CANCEL, headers=BEARER)
        assert (got.status_code, got.json()["outcome"]) == (503, "LATER")
        assert "may be cancelled anyway" in got.json()["message"]
        api.answers.set()
        away = ping(api, links_url="http://127.0.0.1:1")
    async with board(database_url, away, cluster=kafka) as client:
        got = await client.post(CANCEL, headers=BEARER)
        assert (got.status_code, got.json()["message"]) == (
            503,
            "the provider could not be reached",
        )


@pytest.mark.kafka
async def test_parallel_requests_cancel_a_link_once(
    kafka: Cluster, api: Api, database_url: str
) -> None:
    api.answers.clear()
    async with board(database_url, ping(api), cluster=kafka) as client:
        first = asyncio.create_task(client.post(CANCEL, headers=BEARER))
        await until(lambda: len(api.requests) == 1, "the request to the provider")
        second = await client.post(CANCEL, headers=BEARER)
        assert (second.status_code, "already" in second.json()["error"]) == (409, True)
        api.answers.set()
        assert (await first).status_code == 200
    assert len(api.requests) == 1


@pytest.mark.kafka
async def test_link_id_stays_one_path_segment(kafka: Cluster, api: Api, database_url: str) -> None:
    async with board(database_url, ping(api), cluster=kafka) as client:
        shown = (await page(client, "/links/ping/a%2Fb%20c")).text
        (target,) = re.findall(r'class="button" href="([^"]+)"', shown)
        answer = await client.post(target, headers=OWN_PAGE)
        assert answer.headers["location"] == "/links/ping/a%2Fb%20c"
    assert [path for _, path, _ in api.requests] == ["/api/v1/payment_links/a/b c/cancel"]


async def test_page_without_access_leads_to_sign_in(api: Api, database_url: str) -> None:
    async with board(database_url, ping(api)) as client:
        shown = (await client.get(CANCEL, headers=READING)).text
        assert "/sign-in" in shown
        assert "<form class" not in shown


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/links/ping/paid", "the link is paid already"),
        ("/links/truelayer/t-1", "truelayer offers no way to cancel a link"),
    ],
)
async def test_page_has_no_button_if_the_link_cannot_be_cancelled(
    api: Api, database_url: str, path: str, why: str
) -> None:
    other = PROVIDERS["truelayer"]
    async with board(database_url, ping(api), other(other.Config())) as client:
        shown = await page(client, path)
        assert (shown.status_code, "/cancel" in shown.text) == (200, False)
        assert why in (await page(client, f"{path}/cancel")).text
        check = (await client.get(f"{path}/cancel")).json()
        assert check["reason"].startswith(why)
        got = await client.post(f"{path}/cancel", headers=BEARER)
        assert (got.status_code, got.json()) == (409, {"error": check["reason"]})
        back = await client.post(f"{path}/cancel", headers=OWN_PAGE)
        assert (back.status_code, back.headers["location"]) == (303, f"{path}/cancel")
    assert api.requests == []


async def test_page_has_no_button_without_credentials(database_url: str) -> None:
    async with board(database_url, Ping(PingConfig())) as client:
        assert "/cancel" not in (await page(client, LINK)).text
        assert (await client.post(CANCEL, headers=BEARER)).status_code == 409


async def test_program_can_ask_whether_a_link_can_be_cancelled(api: Api, database_url: str) -> None:
    async with board(database_url, ping(api)) as client:
        link = {"provider": "ping", "link_id": "link-1", "status": "CREATED"}
        assert (await client.get(CANCEL)).json() == link | {"reason": None}
        assert (await client.get("/links/ping/no-such/cancel")).status_code == 404
        assert (await page(client, "/links/ping/no-such/cancel")).status_code == 404
        missing = await client.post("/links/ping/no-such/cancel", headers=BEARER)
        assert missing.status_code == 404
        broken = await client.post(CANCEL, content=b"\xff=\xff", headers=BEARER)
        assert broken.status_code == 422
    assert api.requests == []
