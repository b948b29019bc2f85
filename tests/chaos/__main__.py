"""`python -m tests.chaos --seeds 20 --first-seed 1`: runs seeds, one after the other."""

import argparse
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.gaps import merged, table
from tests.chaos.schedule import apart
from tests.chaos.seed import Result, run_seed

_FOLDER = Path(".chaos")
_MOST_SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds to run")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="short seeds, as in make test")
    parser.add_argument("--keep", action="store_true", help="keep the files of passed seeds too")
    parser.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    parser.add_argument("--apart", action="store_true", help="one fault after the other")
    arguments = parser.parse_args()
    results: list[Result] = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        results.append(_run(seed, arguments))
        _write(results)
    print(summary(results))
    print(*table(merged(r.standstills for r in results), _fault_counts(results)), sep="\n")
    return 0 if all(result.passed for result in results) else 1


def _run(seed: int, arguments: argparse.Namespace) -> Result:
    folder = _FOLDER / f"seed-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    result = run_seed(
        seed,
        folder.resolve(),
        arguments.short,
        log=lambda text: print(text, flush=True),
        faults=apart(seed, arguments.brokers) if arguments.apart else None,
        brokers=arguments.brokers,
    )
    print(line(result), flush=True)
    if result.passed and not arguments.keep:
        shutil.rmtree(folder)
        return result
    for kind, texts in result.problems.found().items():
        for text in texts[:_MOST_SHOWN]:
            print(f"  {kind}: {text}")
        if len(texts) > _MOST_SHOWN:
            print(f"  {kind}: … {len(texts) - _MOST_SHOWN} more")
    (folder / "result.json").write_text(json.dumps(result.as_json(), indent=1))
    print(f"  kept in {folder}", flush=True)
    return result


def line(result: Result) -> str:
    """Describe a seed in one line."""
    bad = result.kinds.get("unknown", 0) + result.kinds.get("broken", 0)
    exits = f"; unexpected exits: {', '.join(result.exits)}" if result.exits else ""
    return (
        f"seed {result.seed}: {'passed' if result.passed else 'FAILED'}: "
        f"{result.callbacks} callbacks acknowledged ({bad} bad, {result.retries} retries), "
        f"{result.links} links, {result.webhooks} webhooks ({result.disturbed} disturbed), "
        f"{len(result.faults)} faults; {_counts([result])}, "
        f"{result.problems.repeats} repeats; longest gap {result.longest_gap:.1f} s, "
        f"drained after {result.drained_after:.1f} s; {result.seconds:.0f} s{exits}"
    )


def _counts(results: Sequence[Result]) -> str:
    totals: Counter[str] = Counter()
    for result in results:
        totals.update({kind: len(texts) for kind, texts in result.problems.by_kind().items()})
    return ", ".join(f"{kind} {count}" for kind, count in totals.items())


def _fault_counts(results: Sequence[Result]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(result.counts)
    return counts


def summary(results: Sequence[Result]) -> str:
    passed = sum(result.passed for result in results)
    return (
        f"{passed} of {len(results)} seeds passed: "
        f"{sum(result.callbacks for result in results)} callbacks, "
        f"{sum(len(result.faults) for result in results)} faults; {_counts(results)}; "
        f"longest gap {max((result.longest_gap for result in results), default=0.0):.1f} s"
    )


def _write(results: Sequence[Result]) -> None:
    document = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "summary": summary(results),
        "standstills": merged(result.standstills for result in results),
        "counts": _fault_counts(results),
        "seeds": [result.as_json() for result in results],
    }
    _FOLDER.mkdir(exist_ok=True)
    (_FOLDER / "latest.json").write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    sys.exit(main())
