"""`python -m tests.bench [PART ...]`: measure all of it, or some parts.

The exit code is 1 if the outputs of an engine differ from the rules. A slow figure is no failure.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from streams.local.broker import Broker
from tests.bench import board, edge, latency, report, restore, standstill, throughput, ticks
from tests.bench.throughput import Engine

PARTS = ("throughput", "edge", "latency", "standstill", "ticks", "restore", "board")
_QUIX_PYTHON = Path(".venv-bench/bin/python")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="small numbers, for developing")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    return options


def engines(callbacks: int) -> list[Engine]:
    """Stock Faust gets fewer callbacks: it is too slow for all of them."""
    if not _QUIX_PYTHON.exists():
        raise SystemExit(f"{_QUIX_PYTHON} is missing: `make bench` makes it")
    return [
        Engine("ours", "tests.bench.engine_ours"),
        Engine("quixstreams", "tests.bench.engine_quix", str(_QUIX_PYTHON.absolute())),
        Engine("ceiling", "tests.bench.engine_bare"),
        Engine("two_workers", "tests.bench.engine_ours", workers=2),
        Engine("stock_faust", "tests.bench.engine_faust", callbacks=callbacks // 10),
    ]


def main() -> int:
    options = arguments()
    parts = options.parts or PARTS
    console = Console(stderr=True, highlight=False)
    result: dict[str, Any] = {"machine": report.machine()}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        broker = Broker(Path(name), say=console.print, lasting=True)
        broker.start()
        try:
            for part in parts:
                console.print(f"[bold]{part}")
                result |= _measure(part, options.quick, broker, Path(name), console.print)
        finally:
            broker.stop()
    report.save(result, keep=set(parts) != set(PARTS))
    report.show(result)
    return int(any(engine["differences"] for engine in result.get("engines", {}).values()))


def _measure(part: str, quick: bool, broker: Broker, folder: Path, say: Any) -> Mapping[str, Any]:
    if part == "throughput":
        callbacks, rounds = (20_000, 1) if quick else (100_000, 2)
        runs = throughput.compare(broker, folder, engines(callbacks), callbacks, rounds, say)
        return report.summary(runs)
    if part == "edge":
        return {"edge": edge.measure(broker, folder, 1.5 if quick else 5.0, say)}
    if part == "latency":
        rates = (100, 200) if quick else (100, 200, 500, 1_000, 2_000)
        times = (3.0, 3.0) if quick else (30.0, 10.0)
        server = broker.brokers, broker.pid or 0
        return {"latency": latency.measure(*server, folder, rates, *times, say)}
    if part == "standstill":
        extent = (1, 2.0) if quick else (3, 5.0)
        return {"standstill": standstill.measure(broker.brokers, folder, *extent)}
    if part == "ticks":
        links = (0, 2_000) if quick else (0, 100_000, 500_000)
        times = (5.0, 3.0) if quick else (60.0, 10.0)
        return {"ticks": ticks.measure(broker.brokers, folder, links, *times, say)}
    if part == "board":
        sizes, calls = ((2_000,), 20) if quick else ((100_000, 1_000_000), 60)
        return {"board": board.measure(broker.brokers, folder, sizes, calls, say)}
    return restore.measure(broker, folder, 100_000 if quick else 1_000_000)


if __name__ == "__main__":
    sys.exit(main())
