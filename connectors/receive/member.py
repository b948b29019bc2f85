"""One of several edge processes behind one port (`linkstatus receive --processes`).

The parent process listens, and its children accept connections from the same sockets
(`connectors.http.acceptor`).
"""

import json
import mmap
import os
import socket
import struct
import time
from dataclasses import asdict, dataclass
from typing import Self

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

from connectors.http.acceptor import Shares

REPORT_SECONDS = 0.5
# A process whose last report is older counts as not ready: it is frozen, or cannot keep up.
_SILENT_SECONDS = 3.0
_KEY_BYTES = 16
_COUNT_BYTES = 4
# When, and why the process is not ready. The monotonic clock is the same in all processes.
_REPORT = struct.Struct("=d248s")


class Memory:
    """A file that all processes of an edge map: the key that hashes senders, so that one sender is
    the same for all, and of each process its number of connections and its last report.
    """

    def __init__(self, file: int, count: int) -> None:
        self._count = count
        self._reports_at = _KEY_BYTES + count * _COUNT_BYTES
        self._map = memoryview(mmap.mmap(file, self._reports_at + count * _REPORT.size))

    @classmethod
    def create(cls, file: int, count: int) -> Self:
        """Fill an empty file."""
        zeros = bytes(count * (_COUNT_BYTES + _REPORT.size))
        os.pwrite(file, os.urandom(_KEY_BYTES) + zeros, 0)
        return cls(file, count)

    def key(self) -> bytes:
        return bytes(self._map[:_KEY_BYTES])

    def shares(self, number: int) -> Shares:
        """Return the numbers of connections, with which process `number` accepts its part."""
        return Shares(self._map[_KEY_BYTES : self._reports_at].cast("i"), number - 1)

    def report(self, number: int, reason: str | None) -> None:
        """Tell the others why process `number` is not ready now, None if it is."""
        text = (reason or "").encode()
        _REPORT.pack_into(self._map, self._place(number), time.monotonic(), text)

    def remove(self, number: int) -> None:
        """Process `number` has ended."""
        _REPORT.pack_into(self._map, self._place(number), 0.0, b"")

    def why_not_ready(self) -> str | None:
        """For /readyz: None while every process can do its job."""
        for number in range(1, self._count + 1):
            if reason := self._why_not(number):
                return f"process {number} of {self._count}: {reason}"
        return None

    def _why_not(self, number: int) -> str:
        at, text = _REPORT.unpack_from(self._map, self._place(number))
        if not at:
            return "it does not run"
        if time.monotonic() - at > _SILENT_SECONDS:
            return "it does not react"
        return bytes(text).rstrip(b"\0").decode(errors="replace")

    def _place(self, number: int) -> int:
        return self._reports_at + (number - 1) * _REPORT.size


@dataclass(frozen=True, slots=True)
class Member:
    """What the parent gives its child `number`, from 1 to `count`.

    All write their metrics to `folder`. `sockets` are the inherited descriptors of the listening
    sockets, `memory` that of the file to map.
    """

    folder: str
    number: int
    count: int
    sockets: tuple[int, ...]
    memory: int

    def text(self) -> str:
        """Return the member as an argument of the child's command line."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        fields = json.loads(text)
        return cls(**fields | {"sockets": tuple(fields["sockets"])})

    def share_metrics(self) -> None:
        """Count in files of the folder, which PROMETHEUS_MULTIPROC_DIR names as well. Call this
        before any metric exists.

        The library names the files of a process after its pid; here they have its number, so that
        the process that replaces it goes on counting, and no file of an ended process is left.
        """
        values.ValueClass = values.MultiProcessValue(lambda: self.number)  # type: ignore[no-untyped-call]

    def metrics(self) -> CollectorRegistry:
        """Return the sums of all processes."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, self.folder)  # type: ignore[no-untyped-call]
        return registry

    def listening(self) -> list[socket.socket]:
        """Return the sockets to accept connections from."""
        return [socket.socket(fileno=number) for number in self.sockets]
