"""Whether a file is still the one that was read before: size, time of its last change, sampled content."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import NamedTuple

SAMPLED_BYTES = 4096  # at the beginning, in the middle and at the end: a page each
MAX_ENTRIES = 1000  # of a folder: listing more would take longer than a small reading


class Stamp(NamedTuple):
    """The size in bytes, the time of the last change in ns, and the digest of three samples."""

    size: int
    time: int
    digest: str


def of(path: str) -> Stamp:
    """Return the stamp of a file, or of a folder that is one data set. Raises FileNotFoundError."""
    if Path(path).is_dir():
        return _of_folder(path)
    status = os.stat(path)  # noqa: PTH116  (times in nanoseconds)
    with open(path, "rb") as file:  # noqa: PTH123
        state = hashlib.sha256()
        for start in (0, status.st_size // 2, status.st_size - SAMPLED_BYTES):
            file.seek(max(0, start))
            state.update(file.read(SAMPLED_BYTES))
    return Stamp(status.st_size, status.st_mtime_ns, state.hexdigest())


def check(path: str, known: Stamp) -> None:
    """Raise ValueError, saying what has changed, unless a file has its stamp still."""
    try:
        now = of(path)
    except FileNotFoundError as error:
        raise ValueError(f"{path!r} was there when the rows were opened, and is missing now") from error
    if now == known:
        return
    said = "its content has changed"
    if now.size != known.size:
        said = f"it had {known.size} bytes and has {now.size} now"
    elif now.digest == known.digest:
        said = "it was written again"
    raise ValueError(f"{path!r} has changed since the rows were opened: {said}")


def check_size(path: str, known: Stamp) -> None:
    """Raise ValueError if a file is not as long as its stamp says. Nothing of it is read."""
    try:
        status = os.stat(path)  # noqa: PTH116  (two microseconds)
    except FileNotFoundError as error:
        raise ValueError(f"{path!r} was there when the rows were opened, and is missing now") from error
    if stat.S_ISREG(status.st_mode) and status.st_size != known.size:
        raise ValueError(
            f"{path!r} has changed since the rows were opened: it had {known.size} bytes and has "
            f"{status.st_size} now"
        )


def _of_folder(path: str) -> Stamp:
    """Return the summed sizes, the latest change, and the digest of the names of a folder's files."""
    size = latest = count = 0
    state = hashlib.sha256()
    for folder, inner, names in os.walk(path):
        inner.sort()
        for name in sorted(names):
            status = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118
            size += status.st_size
            latest = max(latest, status.st_mtime_ns)
            state.update(name.encode())
            count += 1
            if count >= MAX_ENTRIES:
                return Stamp(size, latest, state.hexdigest())
    return Stamp(size, latest, state.hexdigest())
