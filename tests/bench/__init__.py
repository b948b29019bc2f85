"""`make bench`: the engine beside others at the same job, the edge, latency and restore."""
