"""The result: a table on the terminal, and `.bench/latest.json`."""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from tests.bench.throughput import EngineRun

FILE = Path(".bench/latest.json")

# Path in the result, label, comparison, target.
_TARGETS = (
    (("ratios", "of_quixstreams"), "× Quix Streams", ">=", 2.5),
    (("ratios", "of_stock_faust"), "× stock Faust", ">=", 20.0),
    (("ratios", "of_ceiling"), "of the bare loop", ">=", 0.7),
    (("edge", "64", "of_ceiling"), "edge, 64 connections, of its ceiling", ">=", 0.6),
    (("edge", "1", "p50_ms"), "edge, 1 connection, p50 ms", "<=", 1.0),
    (("engines", "ours", "cpu_us_per_callback"), "CPU µs a callback", "<=", 100.0),
    (("latency", "200", "p50"), "POST to order-close at 200/s, p50 ms", "<=", 30.0),
    (("latency", "200", "p99"), "POST to order-close at 200/s, p99 ms", "<=", 100.0),
    (("latency", "200", "broker_cores"), "broker cores at 200/s", "<=", 0.5),
    (("standstill", "joins", "longest_s"), "standstill, a worker joins, s", "<=", 1.0),
    (("standstill", "ends", "longest_s"), "standstill, a worker ends, s", "<=", 1.0),
    (("standstill", "rolling restart", "longest_s"), "standstill, rolling restart, s", "<=", 1.0),
    (("standstill", "killed", "longest_s"), "standstill, kill -9, s", "<=", 7.0),
    (("restore_rows_per_s",), "rows restored a second", ">=", 100_000.0),
    (("bytes_per_million_links",), "bytes for 1,000,000 links", "<=", 1e9),
)
_TITLES = {
    "edge": "The edge by connections, acks=all",
    "latency": "POST to order-close by callbacks/s, ms",
    "standstill": "Standstill of a partition while workers change, at 200 callbacks/s",
    "board": "The board: p95 of each page in ms, and records stored a second",
    "ticks": "POST to link-status after a start, by open links, at 200 callbacks/s",
}


def machine() -> dict[str, Any]:
    """Return the machine of the figures."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def summary(runs: list[EngineRun]) -> dict[str, Any]:
    """Return the figures of each engine over all its rounds; memory is the highest peak."""
    engines: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(run.engine for run in runs):
        rounds = [run for run in runs if run.engine == name]
        engines[name] = {
            "callbacks_per_s": round(
                sum(run.callbacks for run in rounds) / sum(run.seconds for run in rounds)
            ),
            "callbacks": rounds[0].callbacks,
            "rounds": len(rounds),
            "wall_seconds": round(fmean(run.wall_seconds for run in rounds), 2),
            "cpu_us_per_callback": round(fmean(run.cpu_us_per_callback for run in rounds)),
            "cpu_seconds": round(fmean(run.cpu_seconds for run in rounds), 2),
            "broker_cpu_seconds": round(fmean(run.broker_cpu_seconds for run in rounds), 2),
            "peak_rss": max(run.peak_rss for run in rounds),
            "differences": [run.differences for run in rounds if run.differences],
        }
    rates = {name: figures["callbacks_per_s"] for name, figures in engines.items()}
    ours = rates.get("ours", 0)
    against = {name: rate for name, rate in rates.items() if name != "ours" and rate}
    return {
        "throughput": {name: rate for name, rate in rates.items() if name != "two_workers"},
        "two_workers": rates.get("two_workers"),
        "ratios": {f"of_{name}": round(ours / rate, 2) for name, rate in against.items()},
        "engines": engines,
    }


def save(result: Mapping[str, Any], keep: bool) -> None:
    """Write the result; with `keep` the figures that were not measured now stay."""
    FILE.parent.mkdir(exist_ok=True)
    before = json.loads(FILE.read_text()) if keep and FILE.exists() else {}
    FILE.write_text(json.dumps({**before, **result}, indent=2) + "\n")


def show(result: Mapping[str, Any]) -> None:
    """Print the tables."""
    console = Console()
    if "engines" in result:
        console.print(_table("The whole job, exactly the same for all", result["engines"]))
    for name, title in _TITLES.items():
        if name in result:
            console.print(_table(title, result[name]))
    table = Table("", "measured", "target", title="Targets")
    for path, name, relation, target in _TARGETS:
        value = _at(result, path)
        if value is not None:
            met = value >= target if relation == ">=" else value <= target
            table.add_row(name, f"{value:,}", f"{relation} {target:,.10g} {'✓' if met else '✗'}")
    console.print(table)
    console.print("{cpu}, {cores} cores, Python {python}, {date}".format(**result["machine"]))


def _at(result: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        result = result.get(name) if isinstance(result, Mapping) else None
    return result


def _table(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return a table with the figures under the names that they have in the file."""
    columns = list(next(iter(rows.values())))
    table = Table("", *columns, title=title)
    for name, figures in rows.items():
        table.add_row(name, *(str(figures[column]) for column in columns))
    return table
