"""What an engine's process is told, and how it tells when its first record came."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from connectors.kafka import Cluster


@dataclass(slots=True)
class Told:
    """Cluster, and a folder of the process's own for state and for its word."""

    cluster: Cluster
    folder: Path
    silent: bool = True

    @classmethod
    def here(cls) -> "Told":
        """What the parent put into the environment."""
        cluster = Cluster(os.environ["BENCH_BROKERS"], os.environ["BENCH_PREFIX"])
        return cls(cluster, Path(os.environ["BENCH_FOLDER"]))

    def environment(self) -> dict[str, str]:
        return {
            "BENCH_BROKERS": self.cluster.brokers,
            "BENCH_PREFIX": self.cluster.prefix,
            "BENCH_FOLDER": str(self.folder),
        }

    def took(self) -> None:
        """A record was taken. With the first one the process's time starts."""
        if self.silent:
            self.silent = False
            self._word.write_text(repr(time.time()))

    def took_at(self) -> float | None:
        """When that was, in seconds since the epoch."""
        text = self._word.read_text() if self._word.exists() else ""
        return float(text) if text else None

    @property
    def _word(self) -> Path:
        return self.folder / "took-at"
