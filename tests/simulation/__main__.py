"""`make simulate SEEDS=1000`: run seeds, print each failing one with a short schedule of faults."""

import argparse
import gc
import logging
import os
import sys
import time
from functools import partial
from multiprocessing import Pool

from tests.simulation.known import FOUND_BY
from tests.simulation.mutations import MUTATIONS, mutated
from tests.simulation.seed import Result, run_seed
from tests.simulation.shrink import shrink


def main() -> int:
    arguments = _arguments()
    started, failed, ran = time.monotonic(), list[int](), 0
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    run = partial(_run, mutation=arguments.mutation, known=arguments.known)
    with Pool(arguments.jobs, _collect_between_seeds) as pool:
        for seed, report in pool.imap(run, seeds):
            ran += 1
            if report:
                failed.append(seed)
                print(report, flush=True)
                if arguments.until_found:
                    break
    seconds = time.monotonic() - started
    print(f"{ran} seeds in {seconds:.0f} s, failed: {failed or 'none'}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at a time")
    parser.add_argument("--mutation", choices=sorted(MUTATIONS), help="break the engine like this")
    parser.add_argument("--known", action="store_true", help="with the faults known to find it")
    parser.add_argument("--until-found", action="store_true", help="end at the first failing seed")
    return parser.parse_args()


def _collect_between_seeds() -> None:
    """Collect no garbage within a seed: that takes a tenth of the time."""
    gc.freeze()
    gc.disable()


def _run(seed: int, mutation: str | None, known: bool) -> tuple[int, str]:
    """Return the seed, and what it reports if it fails."""
    logging.disable(logging.CRITICAL)
    gc.collect()
    seed, faults = FOUND_BY[mutation] if known and mutation else (seed, None)
    with mutated(mutation):
        result = run_seed(seed, faults)
        return seed, "" if result.passed else _report(result if known else shrink(result))


def _report(result: Result) -> str:
    lines = [f"seed {result.seed} fails, with {len(result.faults)} faults:"]
    lines += [f"  {fault}" for fault in result.faults]
    for kind, texts in result.problems.found().items():
        lines += [f"  {kind}: {text}" for text in texts[:3]]
    return "\n".join(lines)


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets would differ from run to run.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    sys.exit(main())
