"""Chaos: the real processes, killed at random, and a ledger of every acknowledged callback.

`python -m tests.chaos --seeds 20 --first-seed 1` runs it; a seed repeats its traffic and faults.
"""
