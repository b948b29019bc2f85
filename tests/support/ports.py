"""Free ports: no two of a test process are the same."""

from streams.local.subprocesses import Ports

free_port = Ports().free
