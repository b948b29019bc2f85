"""The process of an engine: its environment, and what it reports."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from connectors.kafka.cluster import Cluster


@dataclass(slots=True)
class Child:
    """Cluster, and the folder of the process for its state and its report."""

    cluster: Cluster
    folder: Path
    waiting: bool = True

    @classmethod
    def here(cls) -> "Child":
        """Read the environment that the parent has set."""
        brokers, prefix, folder = (
            os.environ[f"LINKSTATUS_{name}"] for name in ("BROKERS", "TOPIC_PREFIX", "DATA_DIR")
        )
        return cls(Cluster(brokers, prefix), Path(folder))

    def record_taken(self) -> None:
        """Report the first record: the run starts with it."""
        if self.waiting:
            self.waiting = False
            self._report.write_text(f"{time.time()} {time.process_time()}")

    def first_record(self) -> tuple[float, float] | None:
        """Return the time of the first record (seconds since the epoch), and the CPU seconds used
        before it; None before the first record.
        """
        text = self._report.read_text() if self._report.exists() else ""
        if not text:
            return None
        at, cpu = text.split()
        return float(at), float(cpu)

    def tick_took(self, cpu_seconds: float) -> None:
        """Report a tick."""
        with (self.folder / "ticks").open("a") as file:
            file.write(f"{cpu_seconds}\n")

    @property
    def _report(self) -> Path:
        return self.folder / "first-record"
