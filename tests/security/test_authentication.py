"""SASL and TLS work with every client, and a wrong setting is named."""

import gc
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.cluster import Cluster
from connectors.kafka.diagnose import Refused, check, explain
from streams.cli import errors
from tests.e2e.system import System
from tests.security.secured import PASSWORD, PLAIN_PASSWORD, Secured, environment
from tests.support import processes
from tests.support.processes import LINKSTATUS
from tests.support.waiting import PATIENCE

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def clusters(secured: Secured) -> dict[str, Cluster]:
    return {
        "PLAIN": secured.plain(),
        "SCRAM-SHA-256": secured.scram(bits=256),
        "SCRAM-SHA-512": secured.scram(bits=512),
        "SASL_SSL": secured.scram_over_tls(),
        "SSL": secured.tls(),
    }


# asyncio closes TLS later, and aiokafka does not wait for it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("method", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "SASL_SSL", "SSL"])
async def test_both_client_libraries_connect(secured: Secured, method: str) -> None:
    cluster = clusters(secured)[method]
    check(cluster, PATIENCE)
    assert explain(cluster, PATIENCE) is None
    producer = AIOKafkaProducer(**cluster.aiokafka())
    try:
        await producer.start()
    finally:
        await producer.stop()
        gc.collect()


WRONG: dict[str, tuple[Callable[[Secured], Cluster], str]] = {
    "password": (lambda s: s.plain("wrong"), "Invalid username or password.*SASL_PASSWORD"),
    "SCRAM password": (lambda s: s.scram(password="wrong"), "invalid credentials.*SASL_PASSWORD"),
    "user": (lambda s: s.scram("unknown"), "invalid credentials.*SASL_USERNAME"),
    "authority": (lambda s: replace(s.tls(), ssl_ca=None), "verify failed.*SSL_CA"),
    "no certificate": (
        lambda s: replace(s.tls(), ssl_certificate=None, ssl_key=None),
        "certificate required.*SSL_CERTIFICATE and …SSL_KEY",
    ),
    "TLS where there is none": (
        lambda s: replace(s.plain(), protocol="SASL_SSL"),
        "PLAINTEXT broker listener.*SECURITY__PROTOCOL",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_refusal_names_the_setting(secured: Secured, wrong: str) -> None:
    cluster, message = WRONG[wrong][0](secured), WRONG[wrong][1]
    with pytest.raises(Refused, match=message) as caught:
        check(cluster, PATIENCE)
    for secret in (PASSWORD, PLAIN_PASSWORD, "wrong"):
        assert secret not in str(caught.value)


def test_missing_tls_or_cluster_is_explained_but_does_not_stop_a_start(secured: Secured) -> None:
    silent = replace(secured.scram_over_tls(), protocol="SASL_PLAINTEXT")
    for cluster, setting in ((silent, "SECURITY__PROTOCOL"), (Cluster("127.0.0.1:1"), "BROKERS")):
        check(cluster, seconds=1)
        assert f"LINKSTATUS_{setting}" in (explain(cluster, seconds=1) or "")


@pytest.mark.parametrize("command", ["receive", "work", "up", "topics check"])
def test_wrong_password_ends_a_command(secured: Secured, command: str, tmp_path: Path) -> None:
    error = error_of(secured.scram(password="wrong"), tmp_path, *command.split())
    assert "LINKSTATUS_SECURITY__SASL_USERNAME, …SASL_PASSWORD" in error
    assert "wrong" not in error


def test_transport_error_is_explained(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LINKSTATUS_DATA_DIR", str(tmp_path))
    for name, value in environment(secured.scram(password="wrong")).items():
        monkeypatch.setenv(name, value)
    unreachable = KafkaException(KafkaError(KafkaError._TRANSPORT, "Failed to get metadata"))
    ending = errors.expected(unreachable)
    assert ending is not None
    assert re.search("refuses us: .*SASL_PASSWORD", ending.hint or "")


def test_security_settings_need_brokers(tmp_path: Path) -> None:
    cluster = Cluster("", protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username="u")
    error = error_of(replace(cluster, sasl_password="p"), tmp_path, "up")
    assert "LINKSTATUS_BROKERS is not set" in error


@pytest.mark.long
def test_callback_reaches_the_board_over_tls(secured: Secured, tmp_path: Path) -> None:
    """With a client certificate; tests/security/test_acls.py does the same with SCRAM."""
    system = System(tmp_path, **environment(secured.tls())).start()
    try:
        assert system.run("send", "ipint", "--example", "completed").split()[-1] == "200"
        link = "/links/ipint/voZ3pYmiE16FLaSfFmytouwFfcjR4Zom8"
        system.wait_for(link, lambda row: row["status"] == "PAID" and row["verified"])
        assert "password" not in (system.data / "up.json").read_text().lower()
    finally:
        system.stop()


def error_of(cluster: Cluster, folder: Path, *command: str) -> str:
    """Return the message of a command that is refused."""
    environment_ = {name: text for name, text in os.environ.items() if name != "LINKSTATUS_BROKERS"}
    env = {**environment_, "LINKSTATUS_DATA_DIR": str(folder), **environment(cluster)}
    ended = processes.run(*LINKSTATUS, *command, code=2, env=env)
    assert "Traceback" not in ended.stderr
    return ended.stderr
