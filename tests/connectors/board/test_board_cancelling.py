"""A link is cancelled from the page: asked for first, done once, told in words, and noted."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.board import BoardConfig, application, open_board
from connectors.board.access import COOKIE, Access
from connectors.board.keep import keep
from connectors.kafka import Cluster
from connectors.ping import Ping, PingConfig
from connectors.process import Address
from connectors.provider import Provider
from connectors.registry import PROVIDERS
from schemas.codec import NOTICE
from tests.connectors.board.conftest import TOKEN
from tests.connectors.board.samples import Make
from tests.connectors.sandboxes import free_socket, served
from tests.reading import read_all
from tests.waiting import until

NOBODY = Cluster("127.0.0.1:1")
HERE = "http://127.0.0.1:8080"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
BROWSER = {"Cookie": f"{COOKIE}={Access('127.0.0.1', TOKEN).cookie()}", "Accept": "text/html"}
OWN_PAGE = BROWSER | {"Origin": HERE}
LINK = "/links/ping/link-1"
CANCEL = f"{LINK}/cancel"


class Api:
    """Ping's API, which answers what it is told to and remembers what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, str, bytes]] = []
        self.answer = Response(status_code=204)
        self.answers = asyncio.Event()
        self.answers.set()

    async def __call__(self, request: Request) -> Response:
        self.asked.append((request.method, request.url.path, await request.body()))
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


def ping(api: Api, **given: str) -> Ping:
    credentials = {"tenant_id": "t-1", "api_secret": "s3cret-of-ping"}
    return Ping(PingConfig.model_validate({"links_url": api.url, **credentials, **given}))


@asynccontextmanager
async def board(
    database_url: str, *apis: Provider, cluster: Cluster = NOBODY, seconds: float = 10
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a board that knows links in every status, and may ask these providers."""
    config = BoardConfig(
        *(cluster, tuple(PROVIDERS), database_url, Address("127.0.0.1", 0), TOKEN),
        apis={provider.name: provider for provider in apis},
        answer_seconds=seconds,
    )
    board, make = open_board(config), Make()
    links: list[Any] = [make.status(), make.status("paid", status="PAID")]
    links += [make.status("a/b c", status="OPENED"), make.status("t-1", provider="truelayer")]
    keep(board.store, make.statuses(*links))
    transport = httpx.ASGITransport(application(board, []))
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
        yield client
    board.store.close()


@pytest.mark.kafka
async def test_a_person_cancels_a_link(kafka: Cluster, api: Api, database_url: str) -> None:
    async with board(database_url, ping(api), cluster=kafka) as client:
        (target,) = re.findall(r'class="button" href="([^"]+)"', (await page(client, LINK)).text)
        asked = await page(client, target)
        assert "cannot be undone" in asked.text
        assert f'method="post" action="{CANCEL}"' in asked.text
        assert api.asked == []  # to look is to do nothing
        answer = await client.post(CANCEL, data={"by": " Ada "}, headers=OWN_PAGE)
        assert (answer.status_code, answer.headers["location"]) == (303, LINK)
        path = "/api/v1/payment_links/link-1/cancel"
        assert api.asked == [("PUT", path, b"{}")]
        shown = (await page(client, LINK)).text
        assert "asked by Ada on the page, from 127.0.0.1: it is cancelled;" in shown
        assert "next lookup (ping: 204)." in shown
        assert "created" in shown  # nothing has changed by itself
    (message,) = read_all(kafka, "notices")
    notice = NOTICE.decode(message.value())
    assert message.key() == b"ping:link-1"
    assert dict(message.headers() or [])["event-id"] == notice["event_id"].encode()
    assert (notice["kind"], notice["provider"], notice["subject_id"], notice["status"]) == (
        *("cancel asked", "ping", "link-1"),
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
async def test_a_program_is_told_what_the_provider_said(
    kafka: Cluster, api: Api, database_url: str
) -> None:
    async with board(database_url, ping(api), cluster=kafka) as client:
        for api.answer, status, outcome, said in ANSWERS:
            got = await client.post(CANCEL, headers=BEARER)
            assert (got.status_code, "error" in got.json()) == (status, status != 200)
            told = {"outcome": outcome, "said": said, "noted": True}
            assert {n: v for n, v in got.json().items() if n != "error"} == told
            shown = (await page(client, LINK)).text
            assert said in shown
            assert "s3cret" not in shown
            assert ('class="errand wrong"' in shown) == (status != 200)
    noted = [NOTICE.decode(message.value()) for message in read_all(kafka, "notices")]
    told_of = [(n["status"], n["attributes"]["answer"]) for n in noted]
    assert told_of == [(outcome.lower(), said) for _, _, outcome, said in ANSWERS]


async def test_what_cannot_be_noted_is_told_all_the_same(api: Api, database_url: str) -> None:
    async with board(database_url, ping(api)) as client:
        got = await client.post(CANCEL, headers=BEARER)
        assert got.status_code == 200
        assert got.json() == {"outcome": "DONE", "said": "204", "noted": False}
        assert "This could not be kept on Kafka." in (await page(client, LINK)).text


@pytest.mark.kafka
async def test_a_provider_that_does_not_answer_may_have_done_it(
    kafka: Cluster, api: Api, database_url: str
) -> None:
    api.answers.clear()
    async with board(database_url, ping(api), cluster=kafka, seconds=0.2) as client:
        got = await client.post(CANCEL, headers=BEARER)
        assert (got.status_code, got.json()["outcome"]) == (503, "LATER")
        assert "may be cancelled all the same" in got.json()["said"]
        api.answers.set()
        away = ping(api, links_url="http://127.0.0.1:1")
    async with board(database_url, away, cluster=kafka) as client:
        got = await client.post(CANCEL, headers=BEARER)
        assert (got.status_code, got.json()["said"]) == (503, "it could not be reached")


@pytest.mark.kafka
async def test_a_link_is_cancelled_once_at_a_time(
    kafka: Cluster, api: Api, database_url: str
) -> None:
    api.answers.clear()
    async with board(database_url, ping(api), cluster=kafka) as client:
        first = asyncio.create_task(client.post(CANCEL, headers=BEARER))
        await until(lambda: len(api.asked) == 1, "the provider to be asked")
        second = await client.post(CANCEL, headers=BEARER)
        assert (second.status_code, "already" in second.json()["error"]) == (409, True)
        api.answers.set()
        assert (await first).status_code == 200
    assert len(api.asked) == 1


@pytest.mark.kafka
async def test_an_id_of_any_kind_is_one_segment(
    kafka: Cluster, api: Api, database_url: str
) -> None:
    async with board(database_url, ping(api), cluster=kafka) as client:
        shown = (await page(client, "/links/ping/a%2Fb%20c")).text
        (target,) = re.findall(r'class="button" href="([^"]+)"', shown)
        answer = await client.post(target, headers=OWN_PAGE)
        assert answer.headers["location"] == "/links/ping/a%2Fb%20c"
    assert [path for _, path, _ in api.asked] == ["/api/v1/payment_links/a/b c/cancel"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer guess"}, 401),
        ({"Cookie": f"{COOKIE}=guess", "Origin": HERE}, 401),
        (BROWSER, 403),
        (BROWSER | {"Origin": "http://127.0.0.1:9999"}, 403),
        (OWN_PAGE | {"Sec-Fetch-Site": "same-site"}, 403),
        (BROWSER | {"Origin": "https://evil.example"}, 403),
    ],
)
async def test_who_may_not_act_calls_nobody(
    api: Api, database_url: str, headers: dict[str, str], status: int
) -> None:
    async with board(database_url, ping(api)) as client:
        answer = await client.post(CANCEL, data={"by": "eve"}, headers=headers)
        assert answer.status_code == status
    assert api.asked == []


async def test_without_signing_in_one_is_told_how(api: Api, database_url: str) -> None:
    async with board(database_url, ping(api)) as client:
        shown = (await client.get(CANCEL, headers={"Accept": "text/html"})).text
        assert "/sign-in" in shown
        assert "<form class" not in shown


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/links/ping/paid", "the link is paid already"),
        ("/links/truelayer/t-1", "truelayer offers no way to cancel a link"),
    ],
)
async def test_there_is_no_button_for_what_cannot_be(
    api: Api, database_url: str, path: str, why: str
) -> None:
    other = PROVIDERS["truelayer"]
    async with board(database_url, ping(api), other(other.Config())) as client:
        shown = await page(client, path)
        assert (shown.status_code, "/cancel" in shown.text) == (200, False)
        assert why in (await page(client, f"{path}/cancel")).text
        asked = (await client.get(f"{path}/cancel")).json()
        assert asked["why_not"].startswith(why)
        got = await client.post(f"{path}/cancel", headers=BEARER)
        assert (got.status_code, got.json()) == (409, {"error": asked["why_not"]})
        back = await client.post(f"{path}/cancel", headers=OWN_PAGE)
        assert (back.status_code, back.headers["location"]) == (303, f"{path}/cancel")
    assert api.asked == []


async def test_without_credentials_there_is_no_button(database_url: str) -> None:
    async with board(database_url, Ping(PingConfig())) as client:
        assert "/cancel" not in (await page(client, LINK)).text
        assert (await client.post(CANCEL, headers=BEARER)).status_code == 409


async def test_programs_may_ask_first(api: Api, database_url: str) -> None:
    async with board(database_url, ping(api)) as client:
        link = {"provider": "ping", "link_id": "link-1", "status": "CREATED"}
        assert (await client.get(CANCEL)).json() == link | {"why_not": None}
        assert (await client.get("/links/ping/no-such/cancel")).status_code == 404
        assert (await page(client, "/links/ping/no-such/cancel")).status_code == 404
        missing = await client.post("/links/ping/no-such/cancel", headers=BEARER)
        assert missing.status_code == 404
        broken = await client.post(CANCEL, content=b"\xff=\xff", headers=BEARER)
        assert broken.status_code == 422
    assert api.asked == []
