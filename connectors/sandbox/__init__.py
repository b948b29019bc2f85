"""The sandbox: all providers simulated on one local host, with APIs, signatures, retries, disorder.

`connectors/providers/{provider}/sandbox.py` simulates one provider, without I/O. This package
contains the host, the store, the delivery of callbacks, and the scenarios.
"""
