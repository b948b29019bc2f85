"""Who may read the board, and what every answer carries."""

from collections.abc import AsyncIterator

import httpx
import pytest

from connectors import process
from connectors.board import (
    Board,
    BoardConfig,
    TokenNeeded,
    access,
    application,
    open_board,
    run_board,
)
from connectors.board.access import Access
from connectors.kafka import Cluster
from connectors.process import Address
from tests.connectors.board.conftest import PROVIDERS, TOKEN

PATHS = ["/", "/links", "/links/ping/x", "/orders/ping/x", "/anomalies", "/dead-letters"]
PATHS += [
    "/links/ping/x/cancel",
    "/notices",
    "/anomalies/done",
    "/dead-letters/aside",
    "/nothing",
    "/processes",
    "/stream",
    "/registry/subjects",
    "/static/board.js",
]


def config(database_url: str, host: str, token: str | None) -> BoardConfig:
    return BoardConfig(Cluster("127.0.0.1:1"), PROVIDERS, database_url, Address(host, 0), token)


@pytest.fixture
async def remote(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    board = open_board(config(database_url, "0.0.0.0", TOKEN))
    transport = httpx.ASGITransport(application(board, process.probes(lambda: None)))
    async with httpx.AsyncClient(transport=transport, base_url="http://board.example:8080") as it:
        yield it
    board.store.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "board.example"])
async def test_off_loopback_it_does_not_start_without_a_token(database_url: str, host: str) -> None:
    with pytest.raises(TokenNeeded, match="LINKSTATUS_BOARD__TOKEN"):
        await run_board(config(database_url, host, None))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_on_loopback_it_needs_none(host: str) -> None:
    assert Access(host).token is None


def test_what_is_logged_of_a_board_does_not_show_its_token(database_url: str) -> None:
    board = open_board(config(database_url, "0.0.0.0", TOKEN))
    board.store.close()
    assert TOKEN not in repr(board)


@pytest.mark.parametrize("path", PATHS)
async def test_off_loopback_nothing_is_read_without_the_token(
    remote: httpx.AsyncClient, path: str
) -> None:
    answer = await remote.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    wrong = await remote.get(path, headers={"Authorization": f"Bearer {TOKEN}x"})
    assert wrong.status_code == 401


async def test_off_loopback_the_token_opens_it(remote: httpx.AsyncClient) -> None:
    answer = await remote.get("/links", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200


async def test_probes_are_open(remote: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await remote.get(path)).status_code == 200


async def test_a_browser_trades_the_token_for_a_cookie(remote: httpx.AsyncClient) -> None:
    answer = await remote.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert (await remote.get("/")).status_code == 200


async def test_a_wrong_token_gets_no_cookie(remote: httpx.AsyncClient) -> None:
    answer = await remote.get("/?token=guess")
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9999", "LOCALHOST", "[::1]:8080"])
async def test_on_loopback_its_own_names_may_read(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/links", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[", "x:y:z"])
async def test_on_loopback_another_name_may_not(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/links", headers={"Host": host})).status_code == 421


async def test_another_name_may_with_the_token(client: httpx.AsyncClient) -> None:
    headers = {"Host": "board.example", "Authorization": f"bearer {TOKEN}"}
    assert (await client.get("/links", headers=headers)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/links", "/links/ping/no", "/nothing", "/static/board.css"])
async def test_every_answer_carries_the_security_headers(
    client: httpx.AsyncClient, path: str
) -> None:
    headers = (await client.get(path)).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "same-origin"


async def test_reading_cannot_be_written(client: httpx.AsyncClient, board: Board) -> None:
    assert (await client.post("/links", json={})).status_code == 405


BEARER = {"Authorization": f"Bearer {TOKEN}"}
COOKIE = {"Cookie": f"{access.COOKIE}={Access('127.0.0.1', TOKEN).cookie()}"}
HERE = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (BEARER, 422),
        (BEARER | {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 422),
        (COOKIE | {"Sec-Fetch-Site": "same-origin"}, 422),
        (COOKIE | {"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 422),
        (COOKIE | {"Origin": HERE}, 422),
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Cookie": f"{access.COOKIE}=guess", "Origin": HERE}, 401),
        ({"Origin": HERE, "Sec-Fetch-Site": "same-origin"}, 401),
        (COOKIE, 403),
        (COOKIE | {"Sec-Fetch-Site": "cross-site"}, 403),
        (COOKIE | {"Sec-Fetch-Site": "same-site", "Origin": HERE}, 403),
        (COOKIE | {"Sec-Fetch-Site": "none"}, 403),
        (COOKIE | {"Origin": "http://127.0.0.1:9999"}, 403),
        (COOKIE | {"Origin": "https://evil.example"}, 403),
        (COOKIE | {"Origin": "null"}, 403),
        (COOKIE | {"Origin": "http://[oops"}, 403),
    ],
)
async def test_acting_needs_the_token_and_a_browser_our_own_page(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    """On loopback too, where reading is open. 422 is the act itself, which is asked for wrongly."""
    answer = await client.post("/dead-letters/replay", data={"place": "x"}, headers=headers)
    assert answer.status_code == status


async def test_without_a_token_nobody_acts(database_url: str) -> None:
    board = open_board(config(database_url, "127.0.0.1", None))
    transport = httpx.ASGITransport(application(board, []))
    nothing = {"Cookie": f"{access.COOKIE}={board.access.cookie()}", "Origin": HERE}
    async with httpx.AsyncClient(transport=transport, base_url=HERE) as client:
        for headers in (nothing, {"Authorization": "Bearer "}, {}):
            answer = await client.post("/dead-letters/replay", headers=headers)
            assert answer.status_code == 401
    board.store.close()


async def test_a_browser_off_loopback_is_shown_where_to_sign_in(remote: httpx.AsyncClient) -> None:
    answer = await remote.get("/links", headers={"Accept": "text/html"})
    assert answer.status_code == 401
    assert 'action="/sign-in"' in answer.text
    assert "dead" not in answer.text.lower()
    assert (await remote.get("/static/board.css")).status_code == 200


async def test_signing_in_takes_the_token_from_our_own_page_only(
    remote: httpx.AsyncClient,
) -> None:
    own = {"Origin": "http://board.example:8080"}
    wrong = await remote.post("/sign-in", data={"token": "guess"}, headers=own)
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    foreign = {"Origin": "https://evil.example"}
    forged = await remote.post("/sign-in", data={"token": TOKEN}, headers=foreign)
    assert (forged.status_code, "set-cookie" in forged.headers) == (403, False)
    answer = await remote.post("/sign-in", data={"token": f" {TOKEN} "}, headers=own)
    assert answer.status_code == 303
    assert (await remote.get("/links")).status_code == 200


async def test_signing_out_takes_the_cookie_from_this_browser_and_from_our_own_page_only(
    remote: httpx.AsyncClient,
) -> None:
    own = {"Origin": "http://board.example:8080"}
    await remote.get(f"/?token={TOKEN}")
    foreign = await remote.post("/sign-out", headers={"Origin": "https://evil.example"})
    assert (foreign.status_code, "set-cookie" in foreign.headers) == (403, False)
    assert (await remote.get("/links")).status_code == 200
    answer = await remote.post("/sign-out", data={"back": "/links?q=x"}, headers=own)
    assert (answer.status_code, answer.headers["location"]) == (303, "/links?q=x")
    assert (await remote.get("/links")).status_code == 401
    elsewhere = await remote.post("/sign-out", data={"back": "//evil.example"}, headers=own)
    assert elsewhere.headers["location"] == "/"


@pytest.mark.parametrize("path", ["/sign-in", "/dead-letters/replay"])
@pytest.mark.parametrize("body", [b"token=" + 10_000 * b"x", b"\xff=\xff", b"a=1&" * 30])
async def test_a_form_is_read_no_further_than_ours_go(
    client: httpx.AsyncClient, path: str, body: bytes
) -> None:
    answer = await client.post(path, content=body, headers=BEARER | {"Origin": HERE})
    assert answer.status_code == (401 if path == "/sign-in" else 422)
