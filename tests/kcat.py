"""kcat for tests: the one on the path, else Debian's package, unpacked into a folder of our own."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_PACKAGES = ("kcat", "librdkafka1", "libyajl2")
_SECONDS = 120


class Kcat:
    """Runs kcat. Skips the test, with the reason, when there is none to be had."""

    def __init__(self) -> None:
        self._program, self._environment = _found() or _of_debian()

    def run(self, *arguments: str) -> str:
        """What it prints; it must end well."""
        done = subprocess.run(
            [self._program, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def knows_avro(self) -> bool:
        """Whether it was built with Avro and a registry's client."""
        return "Avro" in self.run("-V")


def _found() -> tuple[str, dict[str, str]] | None:
    program = shutil.which("kcat") or shutil.which("kafkacat")
    return (program, dict(os.environ)) if program else None


def _of_debian() -> tuple[str, dict[str, str]]:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("no kcat on the path, and no Debian to get it from")
    home = Path.home() / ".cache" / "linkstatus" / "kcat"
    if not home.exists():
        try:
            _unpack(home)
        except (subprocess.SubprocessError, OSError) as error:
            said = getattr(error, "stderr", None) or error
            pytest.skip(f"no kcat on the path, and Debian's cannot be had: {said}")
    libraries = ":".join(str(one) for one in (home / "usr" / "lib").iterdir())
    return str(home / "usr/bin/kcat"), {**os.environ, "LD_LIBRARY_PATH": libraries}


def _unpack(home: Path) -> None:
    """Without root: with lists of packages of our own, should the machine's be none or too old."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as draft:
        (Path(draft) / "lists" / "partial").mkdir(parents=True)
        own = ("-o", f"Dir::State::Lists={draft}/lists", "-o", "APT::Sandbox::User=root")
        _do(draft, "apt-get", *own, "update")
        _do(draft, "apt-get", *own, "download", *_PACKAGES)
        for package in Path(draft).glob("*.deb"):
            _do(draft, "dpkg-deb", "-x", str(package), "app")
        (Path(draft) / "app").rename(home)


def _do(folder: str, *command: str) -> None:
    subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True, timeout=_SECONDS
    )
