"""What was measured: as a table for people, and in `.bench/latest.json`."""

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

from tests.bench.throughput import Ran

FILE = Path(".bench/latest.json")

# Path into the result, what it is called, at least or at most, the target.
_TARGETS = (
    (("ratios", "of_quixstreams"), "× Quix Streams", ">=", 2.0),
    (("ratios", "of_stock_faust"), "× stock Faust", ">=", 20.0),
    (("ratios", "of_ceiling"), "of the bare loop", ">=", 0.7),
    (("edge", "64", "of_ceiling"), "edge, 64 connections, of its ceiling", ">=", 0.5),
    (("edge", "1", "p50_ms"), "edge, 1 connection, p50 ms", "<=", 1.0),
    (("end_to_end_ms", "p50"), "callback to order-close, p50 ms", "<=", 60.0),
    (("end_to_end_ms", "p99"), "callback to order-close, p99 ms", "<=", 300.0),
    (("restore_rows_per_s",), "rows restored a second", ">=", 100_000.0),
    (("bytes_per_million_links",), "bytes for 1,000,000 links", "<=", 1e9),
)


def machine() -> dict[str, Any]:
    """What the figures hold for."""
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


def summary(runs: list[Ran]) -> dict[str, Any]:
    """The engines' figures: of all rounds together, peak memory of the worst."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(run.engine for run in runs):
        mine = [run for run in runs if run.engine == name]
        found[name] = {
            "callbacks_per_s": round(
                sum(run.callbacks for run in mine) / sum(run.seconds for run in mine)
            ),
            "callbacks": mine[0].callbacks,
            "rounds": len(mine),
            "wall_seconds": round(fmean(run.wall_seconds for run in mine), 2),
            "cpu_seconds": round(fmean(run.cpu_seconds for run in mine), 2),
            "broker_cpu_seconds": round(fmean(run.broker_cpu_seconds for run in mine), 2),
            "peak_rss": max(run.peak_rss for run in mine),
            "differences": [run.differences for run in mine if run.differences],
        }
    rates = {name: figures["callbacks_per_s"] for name, figures in found.items()}
    ours = rates.get("ours", 0)
    against = {name: rate for name, rate in rates.items() if name != "ours" and rate}
    return {
        "throughput": {name: rate for name, rate in rates.items() if name != "two_workers"},
        "two_workers": rates.get("two_workers"),
        "ratios": {f"of_{name}": round(ours / rate, 2) for name, rate in against.items()},
        "engines": found,
    }


def save(result: Mapping[str, Any], keep: bool) -> None:
    """Writes the result; with `keep` what was measured before and not now stays."""
    FILE.parent.mkdir(exist_ok=True)
    before = json.loads(FILE.read_text()) if keep and FILE.exists() else {}
    FILE.write_text(json.dumps({**before, **result}, indent=2) + "\n")


def show(result: Mapping[str, Any]) -> None:
    """Prints the tables."""
    console = Console()
    if "engines" in result:
        console.print(_engines(result["engines"]))
    if "edge" in result:
        console.print(_edge(result["edge"]))
    table = Table("", "measured", "target", title="Targets")
    for path, name, relation, target in _TARGETS:
        value = _at(result, path)
        if value is not None:
            met = value >= target if relation == ">=" else value <= target
            table.add_row(name, f"{value:,}", f"{relation} {target:,.10g} {'✓' if met else '✗'}")
    console.print(table)
    told = result["machine"]
    console.print(f"{told['cpu']}, {told['cores']} cores, Python {told['python']}, {told['date']}")


def _at(result: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        result = result.get(name) if isinstance(result, Mapping) else None
    return result


def _engines(engines: Mapping[str, Any]) -> Table:
    columns = ("callbacks/s", "callbacks", "wall s", "CPU s", "broker CPU s", "peak MB", "outputs")
    table = Table("engine", *columns, title="The whole job, exactly the same for all")
    for name, figures in engines.items():
        table.add_row(
            name,
            f"{figures['callbacks_per_s']:,}",
            f"{figures['callbacks']:,}",
            f"{figures['wall_seconds']:,}",
            f"{figures['cpu_seconds']:,}",
            f"{figures['broker_cpu_seconds']:,}",
            f"{figures['peak_rss'] / 1e6:,.0f}",
            str(figures["differences"] or "equal"),
        )
    return table


def _edge(edge: Mapping[str, Any]) -> Table:
    columns = ("callbacks/s", "p50 ms", "p99 ms", "of ceiling")
    table = Table("connections", *columns, title="Edge, acks=all")
    for count, figures in edge.items():
        names = ("callbacks_per_s", "p50_ms", "p99_ms", "of_ceiling")
        table.add_row(count, *(f"{figures[name]:,}" for name in names))
    return table
