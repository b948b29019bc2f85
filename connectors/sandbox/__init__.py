"""The four providers, simulated: their APIs, signatures, retries and disorder, on one local host.

What a provider does is in its folder (`connectors/{provider}/sandbox.py`, free of I/O); here are
the host, the store, the delivery of callbacks, and the plays.
"""
