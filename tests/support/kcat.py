"""kcat for tests: the installed one, else the one in Debian's package."""

import os
import shutil

from tests.support import debian
from tests.support.processes import run


class Kcat:
    """Runs kcat. Skips the test, with the reason, if there is no kcat."""

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._program = shutil.which("kcat") or shutil.which("kafkacat") or self._unpacked()

    def run(self, *arguments: str) -> str:
        """Return the output of a successful run."""
        return run(self._program, *arguments, env=self._environment).stdout

    def knows_avro(self) -> bool:
        """Whether it was built with Avro and a registry client."""
        return "Avro" in self.run("-V")

    def _unpacked(self) -> str:
        home = debian.cached(
            "kcat", lambda folder: debian.unpack(folder, "kcat", "librdkafka1", "libyajl2")
        )
        self._environment["LD_LIBRARY_PATH"] = ":".join(map(str, (home / "usr/lib").iterdir()))
        return str(home / "usr/bin/kcat")
