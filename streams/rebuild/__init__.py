"""Replays the inputs in memory, and compares the tables with those on the cluster."""
