"""SASL and TLS reach every client, and a wrong setting is named by whoever meets it first."""

import gc
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka import Cluster
from connectors.reaching import Refused, check, explain
from streams.cli import errors
from tests.security.secured import PASSWORD, PLAIN_PASSWORD, Secured, environment
from tests.system import System
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def ways(secured: Secured) -> dict[str, Cluster]:
    return {
        "PLAIN": secured.plain(),
        "SCRAM-SHA-256": secured.scram(bits=256),
        "SCRAM-SHA-512": secured.scram(bits=512),
        "SASL_SSL": secured.scram_over_tls(),
        "SSL": secured.tls(),
    }


# asyncio closes TLS in its own time, and aiokafka does not wait for it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "SASL_SSL", "SSL"])
async def test_both_kinds_of_client_get_in(secured: Secured, way: str) -> None:
    cluster = ways(secured)[way]
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
    "user": (lambda s: s.scram("nobody"), "invalid credentials.*SASL_USERNAME"),
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
def test_a_refusal_names_the_setting(secured: Secured, wrong: str) -> None:
    cluster, message = WRONG[wrong][0](secured), WRONG[wrong][1]
    with pytest.raises(Refused, match=message) as caught:
        check(cluster, PATIENCE)
    for secret in (PASSWORD, PLAIN_PASSWORD, "wrong"):
        assert secret not in str(caught.value)


def test_no_tls_where_it_is_asked_for_is_guessed_and_does_not_stop_a_start(
    secured: Secured,
) -> None:
    silent = replace(secured.scram_over_tls(), protocol="SASL_PLAINTEXT")
    check(silent, seconds=1)
    assert "SECURITY__PROTOCOL" in (explain(silent, seconds=1) or "")


def test_a_cluster_that_is_away_is_waited_for() -> None:
    away = Cluster("127.0.0.1:1")
    check(away, seconds=0.5)
    assert "LINKSTATUS_BROKERS" in (explain(away, seconds=0.5) or "")


@pytest.mark.parametrize("process", ["receive", "work", "up"])
def test_a_wrong_password_stops_the_start(secured: Secured, process: str, tmp_path: Path) -> None:
    ended = run(secured.scram(password="wrong"), tmp_path, process)
    assert ended.returncode == 2
    assert "LINKSTATUS_SECURITY__SASL_USERNAME, …SASL_PASSWORD" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "wrong" not in ended.stderr


def test_a_wrong_password_ends_a_command_at_once(secured: Secured, tmp_path: Path) -> None:
    ended = run(secured.scram(password="wrong"), tmp_path, "topics", "check")
    assert ended.returncode == 2
    assert "SASL_PASSWORD" in ended.stderr


def test_what_a_client_only_calls_unreachable_is_explained(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LINKSTATUS_DATA_DIR", str(tmp_path))
    for name, value in environment(secured.scram(password="wrong")).items():
        monkeypatch.setenv(name, value)
    unreachable = KafkaException(KafkaError(KafkaError._TRANSPORT, "Failed to get metadata"))
    ending = errors.ending_of(unreachable)
    assert ending is not None
    assert re.search("refuses us: .*SASL_PASSWORD", ending.hint or "")


def test_the_embedded_broker_is_not_meant_by_security_settings(tmp_path: Path) -> None:
    guarded = Cluster("", protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username="u")
    ended = run(replace(guarded, sasl_password="p"), tmp_path, "up")
    assert ended.returncode == 2
    assert "LINKSTATUS_BROKERS is not set" in ended.stderr


def test_over_tls_a_callback_reaches_the_table_through_every_process(
    secured: Secured, tmp_path: Path
) -> None:
    """By a client's certificate; tests/security/test_acls.py has the same way by SCRAM."""
    system = System(tmp_path, **environment(secured.tls()))
    system.start()
    try:
        sent = system.run("send", "ipint", "--example", "completed")
        assert sent.stdout.split()[-1] == "200"
        link = "/links/ipint/voZ3pYmiE16FLaSfFmytouwFfcjR4Zom8"
        system.see(link, lambda row: row["status"] == "PAID" and row["verified"])
        assert "password" not in (system.data / "up.json").read_text().lower()
    finally:
        system.stop()


def run(cluster: Cluster, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    kept = {name: text for name, text in os.environ.items() if name != "LINKSTATUS_BROKERS"}
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *command],
        env={**kept, "LINKSTATUS_DATA_DIR": str(folder), **environment(cluster)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
