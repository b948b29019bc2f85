"""`linkstatus send`, to our edge and to an external receiver."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from connectors.providers import examples
from connectors.providers.peach import Peach, PeachConfig
from connectors.providers.registry import PROVIDERS
from connectors.sandbox.config import load_secrets
from tests.streams.cli.conftest import Receiver
from tests.support.shell import Shell, run_process


@pytest.fixture(autouse=True)
def no_sandbox(shell: Shell) -> None:
    shell.set(SANDBOX__PORT="9")


def names(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines()]


def test_repeated_callbacks_are_sent_in_rounds_with_delays(
    shell: Shell, receiver: Receiver
) -> None:
    shell.set(EDGE_URL=receiver.url)
    both = ("--example", "created", "--example", "completed")
    out = shell.ok("send", "ping", *both, "--repeat", "2", "--delay", "0.1")
    assert names(out) == ["created", "completed"] * 2
    assert [line.split()[-1] for line in out.splitlines()] == ["200"] * 4
    bodies = [examples.body("ping", name) for name in ("created", "completed")]
    assert [one.body for one in receiver.callbacks] == bodies * 2
    assert {one.path for one in receiver.callbacks} == {"/callbacks/ping"}
    assert all(later - earlier >= 0.09 for earlier, later in pairwise(receiver.times))


def test_seed_determines_the_order(shell: Shell, receiver: Receiver) -> None:
    both = ("--example", "created", "--example", "completed", "--repeat", "6")
    command = ("send", "ping", *both, "--to", receiver.url, "--seed")
    orders = [names(shell.ok(*command, seed)) for seed in ("1", "1", "2")]
    assert orders[0] == orders[1] != orders[2]
    assert all(sorted(one) == ["completed"] * 6 + ["created"] * 6 for one in orders)
    assert orders[0] != ["created", "completed"] * 6


def test_files_are_sent_as_they_are(shell: Shell, receiver: Receiver, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(b'{"a": 1 }')
    (tmp_path / "two").write_bytes(b"a=1&b=2")
    out = shell.ok("send", "peach", "one.json", "two", "--to", f"{receiver.url}/hook")
    assert names(out) == ["one.json", "two"]
    assert [(one.path, one.body, one.headers["content-type"]) for one in receiver.callbacks] == [
        ("/hook", b'{"a": 1 }', "application/json"),
        ("/hook", b"a=1&b=2", "application/x-www-form-urlencoded"),
    ]


def test_stdin_is_sent(receiver: Receiver) -> None:
    ran = run_process("send", "ping", "-", "--to", receiver.url, stdin="[1]")
    assert (ran.returncode, [one.body for one in receiver.callbacks]) == (0, [b"[1]"]), ran


@pytest.mark.parametrize("public_url", [None, "https://shop.example/hooks/peach"])
@pytest.mark.parametrize("secret", [None, "mine"])
def test_external_receiver_can_check_the_signature(
    shell: Shell, receiver: Receiver, tmp_path: Path, public_url: str | None, secret: str | None
) -> None:
    """It covers the called or the public URL of the receiver, not our edge's. The sandbox's secret
    signs if the settings have none.
    """
    if secret:
        ours = "https://ours.example/callbacks/peach"
        shell.set(PEACH__WEBHOOK_SECRETS=secret, PEACH__WEBHOOK_URL=ours)
    to = f"{receiver.url}/hooks/peach"
    options = ("--signed-url", public_url) if public_url else ()
    shell.ok("send", "peach", "--example", "completed", "--to", to, *options)
    known = secret or load_secrets(tmp_path / "data")["peach"]["webhook_secret"]
    config = {"webhook_secrets": [known], "webhook_url": public_url or to}
    peach = Peach(PeachConfig.model_validate(config))
    assert peach.authenticate(receiver.callbacks[0], None, 1)


def test_unacknowledged_callback_ends_with_1_and_a_reason(shell: Shell, receiver: Receiver) -> None:
    receiver.answers = [200, 503]
    command = ("send", "ping", "--example", "created", "--repeat", "3", "--to", receiver.url)
    ran = shell.run(*command)
    assert ran.code == 1
    assert ran.out.splitlines()[1].endswith("503  not now")
    assert ran.err == "linkstatus: 1 of 3 not acknowledged\n"
    receiver.answers = [500]
    replies = [json.loads(line) for line in shell.run(*command, "--json").out.splitlines()]
    assert [one["acknowledged"] for one in replies] == [False, True, True]
    assert replies[0]["message"] == "not now"
    receiver.answers = [401]  # as our edge answers a wrong signature
    shell.set(EDGE_URL=receiver.url)
    ran = shell.run("send", "truelayer", "--example", "payment_settled")
    assert (ran.code, "LINKSTATUS_TRUELAYER__PATH_TOKEN" in ran.err) == (1, True)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nope.json",), "there is no file nope.json"),
        (("--example", "nope"), "'nope'"),
        ((), "completed"),
    ],
    ids=["file", "example", "nothing"],
)
def test_missing_body_is_wrong_use(shell: Shell, args: tuple[str, ...], message: str) -> None:
    ran = shell.run("send", "ping", *args)
    assert (ran.code, message in ran.err) == (2, True)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_examples_are_listed(shell: Shell, provider: str) -> None:
    assert names(shell.ok("send", provider, "--examples")) == examples.names(provider)
