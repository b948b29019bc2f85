"""Whether the disk takes our data."""

import os
import shutil
import tempfile
from pathlib import Path

from schemas import limits

_TRIAL_BYTES = 4096


def problem(folder: Path) -> str | None:
    """Return why the folder cannot take data, and what to do; or None. It need not exist yet."""
    existing = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(bytes(_TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return f"cannot write into {existing}: {error.strerror}; make it writable"
    if free < limits.FREE_DISK_BYTES:
        needed = f"at least {limits.FREE_DISK_BYTES // limits.MIB} MiB are needed"
        return f"{existing} has {free // limits.MIB} MiB of free space, {needed}: free some"
    return None
