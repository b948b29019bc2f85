"""Deterministic simulation: the real engine, agents and rules on a simulated cluster and clock."""
