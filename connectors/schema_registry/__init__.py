"""Schema ids: noted on the cluster, kept by an external registry, served at `/registry`."""
