"""Who may read the board and who may act, the sign-in page, and the headers of every answer."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from connectors.board.board import Board
from connectors.board.http.forms import back
from connectors.board.process import run_board
from connectors.http.access import COOKIE, Access, TokenNeeded
from connectors.http.server import probes
from tests.connectors.board.conftest import (
    BEARER,
    BROWSER,
    HERE,
    OWN_PAGE,
    READING,
    SECRET,
    SIGNED_IN,
    TOKEN,
    Site,
    client_of,
    config,
    opened_board,
)

ELSEWHERE = "http://board.example:8080"
EVIL = {"Origin": "https://evil.example"}
PATHS = [
    *("/", "/links", "/links/ping/x", "/links/ping/x/cancel", "/orders/ping/x"),
    *("/anomalies", "/anomalies/resolve", "/dead-letters", "/dead-letters/resolve"),
    *("/reconciliations", "/reconciliations/ping/2025-11-01"),
    *("/notices", "/processes", "/stream", "/registry/subjects", "/openapi.json"),
    *("/static/board.js", "/nothing"),
]
ACTIONS = [
    *("/anomalies/resolve", "/anomalies/reopen"),
    *("/dead-letters/resolve", "/dead-letters/reopen", "/dead-letters/replay"),
    *("/links/ping/link-1/cancel", "/links/ping/link-1/lookup"),
]


@pytest.fixture
async def remote(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a board off loopback."""
    with opened_board(config(database_url, host="0.0.0.0")) as board:
        async with client_of(board, ELSEWHERE) as client:
            yield client


@pytest.fixture
async def without_token(database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a board on loopback that has no token."""
    with opened_board(config(database_url, token=None)) as board:
        async with client_of(board) as client:
            yield client


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "board.example"])
async def test_board_off_loopback_needs_a_token_to_start(database_url: str, host: str) -> None:
    with pytest.raises(TokenNeeded, match="LINKSTATUS_BOARD__TOKEN"):
        await run_board(config(database_url, host=host, token=None))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_board_on_loopback_needs_no_token(host: str) -> None:
    Access(host).require_token()


def test_configuration_and_rules_do_not_show_the_token(database_url: str) -> None:
    shown = config(database_url, host="0.0.0.0")
    assert TOKEN not in repr(shown) + repr(Access("0.0.0.0", SECRET))


@pytest.mark.parametrize("path", PATHS)
async def test_off_loopback_reading_needs_the_token(remote: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}):
        answer = await remote.get(path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    if path == "/links":
        assert (await remote.get(path, headers=BEARER)).status_code == 200


async def test_probes_are_open(database_url: str) -> None:
    with opened_board(config(database_url, host="0.0.0.0")) as board:
        async with client_of(board, ELSEWHERE, probes(lambda: None)) as remote:
            for path in ("/healthz", "/readyz", "/metrics"):
                assert (await remote.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        *(({"Host": host}, 200) for host in ("127.0.0.1", "localhost:9999", "[::1]:8080")),
        ({"Host": "LOCALHOST"}, 200),
        *(({"Host": host}, 421) for host in ("evil.example", "127.0.0.1.evil.example", "x:y:z")),
        *(({"Host": host}, 421) for host in ("", "[")),
        ({"Host": "board.example", "Authorization": f"bearer {TOKEN}"}, 200),
        (EVIL, 401),
    ],
)
async def test_on_loopback_reading_needs_a_local_name_or_the_token(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    assert (await client.get("/links", headers=headers)).status_code == status


async def test_client_behind_a_proxy_is_not_local(board: Board) -> None:
    async with client_of(board, client=("192.0.2.7", 1)) as client:
        assert (await client.get("/links")).status_code == 401


@pytest.mark.parametrize("path", ["/", "/links", "/links/ping/no", "/nothing", "/static/board.css"])
async def test_every_answer_has_the_security_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


async def test_board_alone_takes_no_registration(client: httpx.AsyncClient) -> None:
    assert (await client.post("/links", json={})).status_code == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (BEARER, 422),
        (BEARER | EVIL | {"Sec-Fetch-Site": "cross-site"}, 422),
        (SIGNED_IN | {"Sec-Fetch-Site": "same-origin"}, 422),
        (SIGNED_IN | {"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 422),
        (SIGNED_IN | {"Origin": HERE}, 422),
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Cookie": f"{COOKIE}=guess", "Origin": HERE}, 401),
        ({"Origin": HERE, "Sec-Fetch-Site": "same-origin"}, 401),
        (SIGNED_IN, 403),
        (SIGNED_IN | {"Sec-Fetch-Site": "cross-site"}, 403),
        (SIGNED_IN | {"Sec-Fetch-Site": "same-site", "Origin": HERE}, 403),
        (SIGNED_IN | {"Sec-Fetch-Site": "none"}, 403),
        (SIGNED_IN | {"Origin": "http://127.0.0.1:9999"}, 403),
        (SIGNED_IN | EVIL, 403),
        (SIGNED_IN | {"Origin": "null"}, 403),
        (SIGNED_IN | {"Origin": "http://[oops"}, 403),
    ],
)
async def test_action_needs_the_token_and_from_a_browser_our_own_page(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    """On loopback too. 422: the request reached the action, which refuses the place."""
    answer = await client.post("/dead-letters/replay", json={"place": "x"}, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize("path", ACTIONS)
async def test_no_action_is_open(client: httpx.AsyncClient, path: str) -> None:
    """All ways to come without access: see above."""
    for headers, status in (({}, 401), (BROWSER, 403)):
        answer = await client.post(path, data={"by": "eve"}, headers=headers)
        assert answer.status_code == status, headers


async def test_board_without_a_token_allows_no_action(without_token: httpx.AsyncClient) -> None:
    cookie = f"{COOKIE}={Access('127.0.0.1').cookie()}"
    for headers in ({"Cookie": cookie, "Origin": HERE}, {"Authorization": "Bearer "}, {}):
        answer = await without_token.post("/dead-letters/replay", json={}, headers=headers)
        assert answer.status_code == 401


async def test_browser_trades_the_token_for_a_cookie(remote: httpx.AsyncClient) -> None:
    wrong = await remote.get("/?token=guess")
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    answer = await remote.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert (await remote.get("/")).status_code == 200


async def test_browser_off_loopback_sees_the_sign_in_page(remote: httpx.AsyncClient) -> None:
    answer = await remote.get("/links", headers=READING)
    assert answer.status_code == 401
    assert 'action="/sign-in"' in answer.text
    assert "dead" not in answer.text.lower()
    assert (await remote.get("/static/board.css")).status_code == 200


async def test_sign_in_takes_the_token_from_our_own_page_only(remote: httpx.AsyncClient) -> None:
    own = {"Origin": ELSEWHERE}
    wrong = await remote.post("/sign-in", data={"token": "guess"}, headers=own)
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)
    forged = await remote.post("/sign-in", data={"token": TOKEN}, headers=EVIL)
    assert (forged.status_code, "set-cookie" in forged.headers) == (403, False)
    answer = await remote.post("/sign-in", data={"token": f" {TOKEN} "}, headers=own)
    assert answer.status_code == 303
    assert (await remote.get("/links")).status_code == 200


async def test_sign_out_deletes_the_cookie_from_our_own_page_only(
    remote: httpx.AsyncClient,
) -> None:
    await remote.get(f"/?token={TOKEN}")
    forged = await remote.post("/sign-out", headers=EVIL)
    assert (forged.status_code, "set-cookie" in forged.headers) == (403, False)
    assert (await remote.get("/links")).status_code == 200
    own = {"Origin": ELSEWHERE}
    answer = await remote.post("/sign-out", data={"back": "/links?q=x"}, headers=own)
    assert (answer.status_code, answer.headers["location"]) == (303, "/links?q=x")
    assert (await remote.get("/links")).status_code == 401
    elsewhere = await remote.post("/sign-out", data={"back": "//evil.example"}, headers=own)
    assert elsewhere.headers["location"] == "/"


async def test_sign_in_leads_back_to_the_page_before(site: Site) -> None:
    site.put_dead_letters("a&b")
    shown = await site.page("/dead-letters/replay?reason=a%26b")
    (link,) = set(re.findall(r'href="(/sign-in\?[^"]+)"', shown))  # in the form and in the footer
    form = await site.page(link)
    (origin,) = re.findall(r'name="back" value="([^"]+)"', form)
    assert origin == "/dead-letters/replay?reason=a%26b"
    fields = {"token": TOKEN, "back": origin}
    answer = await site.client.post("/sign-in", data=fields, headers=READING | {"Origin": HERE})
    assert (answer.status_code, answer.headers["location"]) == (303, origin)


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "/\\evil.example", "https://evil.example", "/a\\b", "/\tb", "a", "", None],
)
def test_no_form_leads_to_another_site(target: str | None) -> None:
    assert back(target) == "/"
    assert back("/links?q=a%26b#c") == "/links?q=a%26b#c"


async def test_sign_in_page_says_where_the_token_is(
    client: httpx.AsyncClient, without_token: httpx.AsyncClient
) -> None:
    assert "board-token" in (await client.get("/sign-in", headers=READING)).text
    shown = (await without_token.get("/sign-in", headers=READING)).text
    assert "<form" not in shown  # no text would sign in
    assert "Set LINKSTATUS_BOARD__TOKEN" in shown


@pytest.mark.parametrize("path", ["/sign-in", "/dead-letters/replay"])
@pytest.mark.parametrize("body", [b"token=" + 10_000 * b"x", b"\xff=\xff", b"a=1&" * 30])
async def test_long_or_odd_form_is_refused(
    client: httpx.AsyncClient, path: str, body: bytes
) -> None:
    answer = await client.post(path, content=body, headers=OWN_PAGE)
    assert answer.status_code == (401 if path == "/sign-in" else 422)
