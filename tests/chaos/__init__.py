"""Chaos: the real processes are killed at random, and a ledger has every acknowledged callback.

`python -m tests.chaos --seeds 20 --first-seed 1` runs it. A seed repeats its traffic and faults.
"""
