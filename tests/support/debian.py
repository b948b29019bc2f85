"""Programs that are fetched for tests: Debian's packages, unpacked without root, and a cache."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest


def unpack(folder: Path, *packages: str) -> None:
    """Fetch the packages and unpack them into `folder`, a new one. Skip the test, with the reason,
    if that fails.

    apt uses package lists in `folder`: those of the machine may be missing or too old.
    """
    (folder / "lists" / "partial").mkdir(parents=True)
    apt = ["apt-get", "-q", "-o", f"Dir::State::Lists={folder}/lists"]
    apt += ["-o", "APT::Sandbox::User=root"]
    try:
        for command in (
            [*apt, "update"],
            [*apt, "download", *packages],
            ["sh", "-c", 'for package in *.deb; do dpkg -x "$package" .; done'],
        ):
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"{packages[0]} is not installed, and Debian's cannot be fetched: {error}")


def cached(name: str, fill: Callable[[Path], None]) -> Path:
    """Return a folder of the cache. `fill` makes it the first time. An existing folder is complete,
    even if a test ends at any moment.
    """
    home = Path.home() / ".cache" / "linkstatus" / name
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home.parent) as draft:
            fill(Path(draft) / "new")
            (Path(draft) / "new").rename(home)
    return home
