"""`linkstatus sandbox`: the simulated providers."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from streams.cli import played_payouts
from streams.cli.arguments import OneJson
from streams.cli.errors import Failed
from streams.cli.tables import console, grid, text
from streams.cli.terminal import print_json, say
from streams.local import data_folder

if TYPE_CHECKING:
    from connectors.sandbox.play import PlayResult, Row

sandbox = typer.Typer(name="sandbox")


def _http_url(url: str | None) -> str | None:
    if url is not None and not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{url} is not an http:// or https:// URL")
    return url


@sandbox.callback(invoke_without_command=True)
def run_sandbox(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(help="Default: the setting SANDBOX__PORT.")] = None,
    callbacks_to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Call your receiver instead of our edge; `{provider}` stands for the provider.",
            callback=_http_url,
        ),
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="60: a provider's minutes last seconds.")
    ] = None,
) -> None:
    """Run the four providers, simulated: APIs, signatures, retries and disorder.

    The sandbox can test your own receiver. `env` prints the URLs of the simulated APIs, and the
    secrets that their signatures need:

        linkstatus sandbox --callbacks-to 'http://127.0.0.1:3000/hooks/{provider}'
        linkstatus sandbox env
        linkstatus sandbox play --links 50
    """
    from streams import wiring

    if context.invoked_subcommand is None:
        settings = data_folder.settings()
        options = {"port": port, "callback_url": callbacks_to, "speed": speed}
        changes = {name: value for name, value in options.items() if value is not None}
        settings.sandbox = settings.sandbox.model_copy(update=changes)
        wiring.run_sandbox(settings)


@sandbox.command()
def play(
    links: Annotated[int, typer.Option(min=1, max=10_000, help="How many links.")] = 24,
    seed: Annotated[int, typer.Option(help="The same seed plays the same scenario.")] = 1,
    wait: Annotated[float, typer.Option(help="Seconds to wait for agreement.")] = 120.0,
    json: OneJson = False,
) -> None:
    """Play the lifecycles of links at the four providers and compare the board with the outcome.

    Callbacks come late, repeated and out of order. Needs a running `linkstatus up`. With
    `linkstatus sandbox --callbacks-to URL`, for your own receiver, it prints what the receiver must
    know in the end, and whether it acknowledged all callbacks.

    Then each provider pays out what was closed, but for one order and with one wrong amount, and
    the play reconciles that.

        linkstatus sandbox play --links 200 --seed 7
    """
    from streams import wiring

    say(f"playing {links} links with seed {seed} …")
    settings, first = data_folder.settings(), datetime.now(UTC).date()
    result = wiring.play(settings, links, seed, wait)
    payouts: list[Row] = []
    if result.payouts and not settings.brokers:
        say("LINKSTATUS_BROKERS is not set, so the payouts are not reconciled")
    elif result.payouts:
        say("reconciling what the providers paid out …")
        payouts = [*played_payouts.rows(settings, result, first)]
    payouts_agree = all(row.agrees for row in payouts)
    if json:
        report = {
            "agrees": result.agrees and payouts_agree,
            "undelivered": result.undelivered,
            "seconds": round(result.seconds, 3),
            "rows": [asdict(row) for row in result.rows],
            "payouts": [asdict(row) for row in payouts],
            "expected": {kind: result.scenario[kind] for kind in ("links", "orders")},
        }
        print_json(report)
    else:
        _draw(result, payouts)
    agreeing = sum(row.agrees for row in result.rows)
    if not result.external:
        say(f"{agreeing} of {len(result.rows)} agree after {result.seconds:.1f} s")
    elif not result.undelivered:
        say(f"all callbacks acknowledged after {result.seconds:.1f} s")
    if payouts:
        say(f"{sum(row.agrees for row in payouts)} of {len(payouts)} orders reconcile as expected")
    if not payouts_agree:
        raise Failed("the reconciliation does not find what the providers paid out")
    if not result.agrees:
        disagrees = "" if result.external else "the board does not agree; "
        raise Failed(f"{disagrees}{result.undelivered} callbacks are not delivered")


def _draw(result: "PlayResult", payouts: Sequence["Row"]) -> None:
    columns = ("", "provider", "link or order", "expected", "actual")
    table = grid(*columns[:4] if result.external else columns)
    table.columns[1].no_wrap = True
    for row in (*result.rows, *payouts):
        cells = [text(row.provider), text(f"{row.kind[:-1]} {row.id}"), text(row.expected)]
        if result.external:
            table.add_row("", *cells)
        elif row.agrees:
            actual = "" if row.actual == row.expected else row.actual
            table.add_row(text("✓", "green"), *cells, text(actual))
        else:
            table.add_row(text("✗", "bold red"), *cells, text(row.actual, "red"))
    console().print(table)


@sandbox.command(
    "exec", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True}
)
def execute(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
) -> None:
    """Run a command with the variables that point it at this sandbox.

    linkstatus sandbox exec linkstatus receive
    """
    environment = {**os.environ, **_variables()}
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606
    except OSError as error:
        raise Failed(f"cannot run {command[0]}: {error.strerror}") from error


@sandbox.command("env")
def environment() -> None:
    """Print the variables that point the other processes at this sandbox.

    They hold secrets of the simulated providers only, made for this data folder. `exec` runs a
    command with them.

        linkstatus sandbox env > sandbox.env
    """
    for name, value in _variables().items():
        print(f"export {name}={quote(value)}")


def _variables() -> dict[str, str]:
    from streams import wiring

    settings = data_folder.settings()
    return wiring.sandbox_environment(settings, settings.known_connections())
