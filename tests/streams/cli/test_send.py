"""`linkstatus send` and `linkstatus sandbox` against a receiver that is not ours."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors import examples
from connectors.peach import Peach, PeachConfig
from connectors.provider import Inbound
from connectors.registry import PROVIDERS
from connectors.sandbox.sites import load_secrets
from tests.streams.cli.shell import Shell, serving
from tests.test_readme import RECEIVER
from tests.waiting import until_sync


class Receiver:
    """Somebody's own: any path, and it answers as it is told to, else 200."""

    def __init__(self) -> None:
        self.taken: list[Inbound] = []
        self.at: list[float] = []
        self.answers: list[int] = []
        self.url = ""

    async def take(self, request: Request) -> Response:
        self.at.append(time.monotonic())
        self.taken.append(Inbound(request.url.path, request.headers, await request.body()))
        status = self.answers.pop(0) if self.answers else 200
        return Response("" if status == 200 else "not now", status)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/{rest:path}", receiver.take, methods=["POST"])])
    with serving(app) as receiver.url:
        yield receiver


@pytest.fixture(autouse=True)
def no_sandbox(shell: Shell) -> None:
    shell.set(SANDBOX__PORT="9")


def names(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines()]


def test_several_callbacks_are_sent_again_and_again_in_rounds(
    shell: Shell, receiver: Receiver
) -> None:
    shell.set(EDGE_URL=receiver.url)
    both = ("--example", "created", "--example", "completed")
    out = shell.ok("send", "ping", *both, "--repeat", "2")
    assert names(out) == ["created", "completed"] * 2
    assert [line.split()[-1] for line in out.splitlines()] == ["200"] * 4
    bodies = [examples.body("ping", name) for name in ("created", "completed")]
    assert [one.body for one in receiver.taken] == bodies * 2
    assert {one.path for one in receiver.taken} == {"/callbacks/ping"}


def test_a_seed_shuffles_the_same_way(shell: Shell, receiver: Receiver) -> None:
    asked = ["send", "ping", "--example", "created", "--example", "completed", "--repeat", "6"]
    asked += ["--to", receiver.url, "--seed"]
    orders = [names(shell.ok(*asked, seed)) for seed in ("1", "1", "2")]
    assert orders[0] == orders[1] != orders[2]
    assert all(sorted(one) == ["completed"] * 6 + ["created"] * 6 for one in orders)
    assert orders[0] != ["created", "completed"] * 6


def test_a_delay_lies_between_two(shell: Shell, receiver: Receiver) -> None:
    shell.ok(
        "send", "ping", "--example", "created", "--repeat", "3", "--delay", "0.2",
        "--to", receiver.url,
    )  # fmt: skip
    assert all(
        after - before >= 0.19 for before, after in zip(receiver.at, receiver.at[1:], strict=False)
    )


def test_files_and_stdin_are_sent_as_they_are(
    shell: Shell, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.json").write_bytes(b'{"a": 1 }')
    (tmp_path / "two").write_bytes(b"a=1&b=2")
    out = shell.ok("send", "peach", "one.json", "two", "--to", f"{receiver.url}/hook")
    assert names(out) == ["one.json", "two"]
    assert [(one.path, one.body) for one in receiver.taken] == [
        ("/hook", b'{"a": 1 }'),
        ("/hook", b"a=1&b=2"),
    ]
    kinds = [one.headers["content-type"] for one in receiver.taken]
    assert kinds == ["application/json", "application/x-www-form-urlencoded"]


def test_stdin_is_a_file_too(receiver: Receiver, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streams.cli", "send", "ping", "-", "--to", receiver.url]
    ran = subprocess.run(
        command, cwd=Path(__file__).parents[3], input=b"[1]", capture_output=True, timeout=60
    )
    assert (ran.returncode, [one.body for one in receiver.taken]) == (0, [b"[1]"]), ran


@pytest.mark.parametrize("known_as", [None, "https://shop.example/hooks/peach"])
def test_another_receiver_can_judge_the_signature(
    shell: Shell, receiver: Receiver, tmp_path: Path, known_as: str | None
) -> None:
    """Signed for the URL called, or the one it is known as; not for the one of our own edge."""
    ours = "https://ours.example/callbacks/peach"
    shell.set(PEACH__WEBHOOK_SECRETS='["mine"]', PEACH__WEBHOOK_URL=ours)
    to = f"{receiver.url}/hooks/peach"
    more = ("--signed-url", known_as) if known_as else ()
    shell.ok("send", "peach", "--example", "completed", "--to", to, *more)
    config = {"webhook_secrets": ["mine"], "webhook_url": known_as or to}
    peach = Peach(PeachConfig.model_validate(config))
    assert peach.authenticate(receiver.taken[0], None, 1)


def test_without_a_secret_of_ours_the_sandbox_s_signs(
    shell: Shell, receiver: Receiver, tmp_path: Path
) -> None:
    to = f"{receiver.url}/hooks/peach"
    shell.ok("send", "peach", "--example", "completed", "--to", to)
    secret = load_secrets(tmp_path / "data").by_provider["peach"]["webhook_secret"]
    config = {"webhook_secrets": [secret], "webhook_url": to}
    assert Peach(PeachConfig.model_validate(config)).authenticate(receiver.taken[0], None, 1)


def test_what_is_not_acknowledged_ends_with_1(shell: Shell, receiver: Receiver) -> None:
    receiver.answers = [200, 503]
    asked = ("send", "ping", "--example", "created", "--repeat", "3", "--to", receiver.url)
    ran = shell.run(*asked)
    assert ran.code == 1
    assert ran.out.splitlines()[1].endswith("503  not now")
    assert ran.err == "linkstatus: 1 of 3 not acknowledged\n"
    receiver.answers = [500]
    replies = [json.loads(line) for line in shell.run(*asked, "--json").out.splitlines()]
    assert [one["acknowledged"] for one in replies] == [False, True, True]
    assert replies[0]["said"] == "not now"


def test_a_refusal_of_our_edge_names_the_settings(shell: Shell, receiver: Receiver) -> None:
    shell.set(EDGE_URL=receiver.url)
    receiver.answers = [401]
    ran = shell.run("send", "truelayer", "--example", "payment_settled")
    assert ran.code == 1
    assert "LINKSTATUS_TRUELAYER__PATH_TOKEN" in ran.err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("nope.json",), "there is no file nope.json"),
        (("--example", "nope"), "'nope'"),
    ],
    ids=["file", "example"],
)
def test_what_is_not_there_is_wrong_use(shell: Shell, args: tuple[str, ...], said: str) -> None:
    ran = shell.run("send", "ping", *args)
    assert ran.code == 2
    assert said in ran.err


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_examples_can_be_listed(shell: Shell, provider: str) -> None:
    assert names(shell.ok("send", provider, "--examples")) == examples.names(provider)


@pytest.mark.slow
def test_the_sandbox_plays_for_a_receiver_of_somebody_else(
    shell: Shell, receiver: Receiver, sandbox: Callable[..., Path]
) -> None:
    sandbox("--callbacks-to", f"{receiver.url}/hooks/{{provider}}", "--speed", "600")
    until_sync(lambda: shell.run("sandbox", "play", "--links", "1").code != 3, "the sandbox")
    receiver.taken.clear()
    ran = shell.run("sandbox", "play", "--links", "4", "--json")
    assert ran.code == 0, ran
    assert "all callbacks acknowledged" in ran.err
    said = json.loads(ran.out)
    assert (said["agrees"], said["undelivered"]) == (True, 0)
    for link in said["must_be"]["links"]:
        assert link["status"] == ["PAID"]
        path = f"/hooks/{link['provider']}"
        heard = [one.body for one in receiver.taken if one.path == path]
        assert any(link["link_id"].encode() in body for body in heard)
    receiver.answers = [500] * 10_000
    ran = shell.run("sandbox", "play", "--links", "1", "--wait", "0")
    assert ran.code == 1
    assert "callbacks undelivered" in ran.err


@pytest.mark.slow
def test_the_readme_s_way_to_try_a_receiver(
    shell: Shell, receiver: Receiver, sandbox: Callable[..., Path]
) -> None:
    here = [line.replace("http://127.0.0.1:3000", receiver.url) for line in RECEIVER]
    sending, simulating, playing = (shlex.split(line)[1:] for line in here)
    assert len(shell.ok(*sending).splitlines()) == 6
    sandbox(*simulating[1:])
    until_sync(lambda: shell.run("sandbox", "play", "--links", "1").code != 3, "the sandbox")
    assert json.loads(shell.ok(*playing))["agrees"]


@pytest.mark.slow
def test_a_port_that_is_taken_is_said_without_a_traceback(
    receiver: Receiver, sandbox: Callable[..., Path]
) -> None:
    port = receiver.url.rpartition(":")[2]
    out = sandbox("--port", port)
    until_sync(lambda: "linkstatus: cannot listen on" in out.read_text(), "the message")
    assert f"127.0.0.1:{port}" in out.read_text()
    assert "Traceback" not in out.read_text()


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:3000"])
def test_a_receiver_needs_a_url(shell: Shell, url: str) -> None:
    assert shell.run("sandbox", "--callbacks-to", url).code == 2
