"""Asks the APIs of the providers and publishes their answers."""
