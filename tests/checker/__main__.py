"""`python -m tests.checker history.jsonl`: prints what is wrong with a history, if anything is."""

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.checker import history
from tests.checker.check import check


def main() -> int:
    """Return 1 if something is wrong, 2 if the file is no history."""
    parser = argparse.ArgumentParser("python -m tests.checker", description=__doc__)
    parser.add_argument("history", type=Path, help="a file that tests.checker.record has written")
    with parser.parse_args().history.open() as lines:
        try:
            known = history.read(lines)
        except history.BadHistory as error:
            print(error, file=sys.stderr)
            return 2
    findings = check(known)
    for found in findings:
        print(found)
    counts = Counter(found.kind for found in findings)
    records = sum(map(len, known.topics.values()))
    reads = sum(len(reader.reads) for reader in known.readers.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    print(
        f"{records} committed records, {len(known.unseen)} others, {len(known.acknowledged)} "
        f"acknowledged, {reads} read: {kinds or 'clean'}"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
