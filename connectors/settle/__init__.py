"""Closes, splits and settles orders at the provider, and reports."""
