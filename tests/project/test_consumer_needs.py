"""A service that uses `consume` installs only the base dependencies; all else are extras."""

import json
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from connectors.board.database.engine import BadUrl, open_engine, parse_url
from connectors.schema_registry import client
from tests.support.documents import ROOT
from tests.support.processes import run

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# A program's packages are those in its first argument, as if no other package were installed.
ONLY = """\
import json, sys

class Only:
    allowed = {*json.loads(sys.argv.pop(1)), *sys.stdlib_module_names}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.allowed and not name.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Only())
"""
CONSUMER = """\
from connectors.kafka.cluster import Cluster
from schemas.topics import ORDER_CLOSE
from streams import consume

consume(ORDER_CLOSE, group="g", cluster=Cluster("127.0.0.1:9"))
"""
TEST_OF_CONSUMER = """\
from schemas.topics import ORDER_CLOSE, REFUNDS
from streams.testing import InMemoryKafka, order_close, refund

kafka = InMemoryKafka()
kafka.publish(ORDER_CLOSE, order_close("O1"))
kafka.publish(REFUNDS, refund())
with kafka.consume(ORDER_CLOSE, group="g") as records:
    print([record.value["order_id"] for record in records])
"""
COMMAND = "sys.argv[0] = 'linkstatus'\nfrom streams.cli import main\nmain()\n"


def distributions(name: str, extras: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the distribution and all that it requires."""
    yield canonicalize_name(name)
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": one}) for one in extras or {""}):
            yield from distributions(requirement.name, frozenset(requirement.extras))


def base_packages() -> list[str]:
    """Return our packages, and those of the base dependencies and what they require."""
    base = {
        name
        for text in PROJECT["dependencies"]
        for name in distributions(Requirement(text).name, frozenset(Requirement(text).extras))
    }
    owners = metadata.packages_distributions()
    packages = {
        package
        for package, names in owners.items()
        if base.intersection(map(canonicalize_name, names))
    }
    return sorted({"connectors", "schemas", "streams"} | packages)


def run_with_base(code: str, *arguments: str, exit_code: int = 0) -> str:
    """Run a program where only the base dependencies are installed; return what it prints."""
    packages = json.dumps(base_packages())
    ended = run(sys.executable, "-c", ONLY + code, packages, *arguments, code=exit_code)
    return ended.stdout + ended.stderr


def test_base_is_small() -> None:
    base = {name for text in PROJECT["dependencies"] for name in distributions(text.split(">")[0])}
    assert len(base) <= 10, base


def test_consumer_needs_only_the_base_dependencies() -> None:
    run_with_base(CONSUMER)
    assert run_with_base(TEST_OF_CONSUMER) == "['O1']\n"


@pytest.mark.parametrize("arguments", [("status", "ping", "L1"), ("work",), ("--help",)])
def test_command_names_the_extra_that_is_not_installed(arguments: tuple[str, ...]) -> None:
    printed = run_with_base(COMMAND, *arguments, exit_code=2)
    assert printed.splitlines() == [
        "linkstatus: this command needs a package that is not installed: typer",
        "  install linkstatus[server]",
    ]


def test_registry_and_database_name_their_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("confluent_kafka.schema_registry", "psycopg"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(client.Refused, match=r"install linkstatus\[registry\]"):
        client.text("http://127.0.0.1:9", 1)
    with pytest.raises(BadUrl, match=r"psycopg is not installed: install linkstatus\[postgresql\]"):
        open_engine(parse_url("postgresql+psycopg://127.0.0.1/links"))


def test_every_extra_that_a_message_names_exists() -> None:
    extras = PROJECT["optional-dependencies"]
    assert {"dev", "embedded", "postgresql", "registry", "server", "tracing"} == set(extras)
