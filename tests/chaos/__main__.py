"""`python -m tests.chaos --seeds 20 --first-seed 1`: runs seeds, one after the other."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos.seed import Result, run_seed

_FOLDER = Path(".chaos")
_MOST_SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="the short kind, as in make test")
    parser.add_argument(
        "--keep", action="store_true", help="keep data and logs of passed seeds too"
    )
    given = parser.parse_args()
    results = []
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        results.append(_run(seed, given.short, given.keep))
        _write(results)
    print(summary(results))
    return 0 if all(result.passed for result in results) else 1


def _run(seed: int, short: bool, keep: bool) -> Result:
    folder = _FOLDER / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    result = run_seed(seed, folder.resolve(), short, say=lambda text: print(text, flush=True))
    print(line(result), flush=True)
    if result.passed and not keep:
        shutil.rmtree(folder)
        return result
    for what in ("lost", "doubled", "wrong_rows", "hung"):
        differences = getattr(result, what)
        for difference in differences[:_MOST_SHOWN]:
            print(f"  {what}: {difference}")
        if len(differences) > _MOST_SHOWN:
            print(f"  {what}: … {len(differences) - _MOST_SHOWN} more")
    (folder / "result.json").write_text(json.dumps(result.as_json(), indent=1))
    print(f"  kept in {folder}", flush=True)
    return result


def line(result: Result) -> str:
    """One line a seed."""
    bad = result.kinds.get("unknown", 0) + result.kinds.get("broken", 0)
    return (
        f"seed {result.seed}: {'passed' if result.passed else 'FAILED'}: "
        f"{result.callbacks} callbacks acknowledged ({bad} bad, {result.retries} retries), "
        f"{result.links} links, {len(result.faults)} faults; {_counts([result])}, "
        f"{result.repeats} repeats; longest gap {result.longest_gap:.1f} s, "
        f"drained after {result.drained_after:.1f} s; {result.seconds:.0f} s"
        + (f"; ended unasked: {', '.join(result.ended)}" if result.ended else "")
    )


def _counts(results: Sequence[Result]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {sum(len(getattr(result, name)) for result in results)}"
        for name in ("lost", "doubled", "wrong_rows", "hung")
    )


def summary(results: Sequence[Result]) -> str:
    passed = sum(result.passed for result in results)
    return (
        f"{passed} of {len(results)} seeds passed: "
        f"{sum(result.callbacks for result in results)} callbacks, "
        f"{sum(len(result.faults) for result in results)} faults; {_counts(results)}; "
        f"longest gap {max((result.longest_gap for result in results), default=0.0):.1f} s"
    )


def _write(results: Sequence[Result]) -> None:
    totals: dict[str, Any] = {
        name: sum(len(getattr(result, name)) for result in results)
        for name in ("faults", "lost", "doubled", "wrong_rows", "hung")
    }
    document = {
        "seeds": [result.seed for result in results],
        "callbacks": sum(result.callbacks for result in results),
        **totals,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "longest_gap": {result.seed: result.longest_gap for result in results},
        "each": [result.as_json() for result in results],
    }
    _FOLDER.mkdir(exist_ok=True)
    (_FOLDER / "latest.json").write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    sys.exit(main())
