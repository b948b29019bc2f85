"""`python -m tests.bench [throughput|edge|latency|restore]`: all of them, or one.

Ends with 1 when an engine's outputs are not what the rules say; a slow figure fails nothing.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from streams.embedded import Broker
from tests.bench import edge, latency, report, restore, throughput
from tests.bench.throughput import Engine

PARTS = ("throughput", "edge", "latency", "restore")
_QUIX_PYTHON = Path(".venv-bench/bin/python")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="small numbers, for developing")
    parser.add_argument("-n", type=int, help="callbacks an engine (100,000)")
    parser.add_argument("--rounds", type=int, help="rounds of all engines (2)")
    parser.add_argument("--faust", type=int, help="callbacks for stock Faust (10,000)")
    parser.add_argument("--quix-python", type=Path, default=_QUIX_PYTHON, help="of .venv-bench")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    given.n = given.n or (20_000 if given.quick else 100_000)
    given.rounds = given.rounds or (1 if given.quick else 2)
    given.faust = given.faust or (2_000 if given.quick else 10_000)
    return given


def engines(given: argparse.Namespace) -> list[Engine]:
    """Stock Faust gets fewer callbacks, or all would wait for it."""
    if not given.quix_python.exists():
        raise SystemExit(f"{given.quix_python} is missing: `make bench` makes it")
    return [
        Engine("ours", "tests.bench.engine_ours"),
        Engine("quixstreams", "tests.bench.engine_quix", str(given.quix_python.absolute())),
        Engine("ceiling", "tests.bench.engine_bare"),
        Engine("two_workers", "tests.bench.engine_ours", workers=2),
        Engine("stock_faust", "tests.bench.engine_faust", callbacks=given.faust),
    ]


def main() -> int:
    given = arguments()
    parts = given.parts or PARTS
    console = Console(stderr=True, highlight=False)
    result: dict[str, Any] = {"machine": report.machine()}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        broker = Broker(Path(name), say=console.print)
        broker.start()
        try:
            for part in parts:
                console.print(f"[bold]{part}")
                result |= _measure(part, given, broker, Path(name), console.print)
        finally:
            broker.stop()
    report.save(result, keep=set(parts) != set(PARTS))
    report.show(result)
    wrong = [one for one in result.get("engines", {}).values() if one["differences"]]
    return 1 if wrong else 0


def _measure(
    part: str, given: argparse.Namespace, broker: Broker, folder: Path, say: Any
) -> Mapping[str, Any]:
    if part == "throughput":
        runs = throughput.compare(broker, folder, engines(given), given.n, given.rounds, say)
        return report.summary(runs)
    if part == "edge":
        return {"edge": edge.measure(broker, folder, 1.5 if given.quick else 5.0, say)}
    if part == "latency":
        seconds = 5.0 if given.quick else 20.0
        return {"end_to_end_ms": latency.measure(broker, folder, 200, seconds, say)}
    return restore.measure(broker, folder, 100_000 if given.quick else 1_000_000)


if __name__ == "__main__":
    sys.exit(main())
