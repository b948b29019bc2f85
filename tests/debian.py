"""Programs out of Debian's packages, unpacked into a folder: nothing is installed."""

import subprocess
from pathlib import Path


class NotToBeHad(Exception):
    """The packages cannot be fetched here; the message says why."""


def unpack(folder: Path, *packages: str) -> None:
    """Fetches the packages and lays their files out in `folder`, a new one. Raises NotToBeHad."""
    folder.mkdir()
    try:
        for command in (
            ["apt-get", "download", "-q", *packages],
            ["sh", "-c", 'for package in *.deb; do dpkg -x "$package" .; done'],
        ):
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotToBeHad(f"Debian's {packages[0]} cannot be had: {error}") from error
