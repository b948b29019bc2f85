"""A full disk: no file of a process can grow.

A limit on the size of files replaces it: it needs no rights, no extra disk, and ends at once.
"""

import resource


def limit_files(pid: int, full: bool) -> None:
    """Let a running process write to no file, or to any."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0 if full else hard, hard))
