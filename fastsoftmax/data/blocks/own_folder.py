"""A folder that a process writes for itself, and that the next process deletes if the first was killed.

A lock file in it is locked as long as the process lives: the system ends such a lock with the process,
however that ends, and no other process that is given the same number is mistaken for it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastsoftmax.runtime.process_token import TOKEN

try:
    import fcntl
except ImportError:  # Windows has none: folders of killed processes stay there
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Collection

PREFIX, SUFFIX = ".rows-", ".tmp"
LOCK, NEW_LOCK = "lock", "lock.new"
YOUNG = 3600.0  # seconds in which a folder without a lock may still be getting one, or being renamed


class OwnFolder:
    """A new folder.

    Parameters
    ----------
    parent : str, optional
        Where it is made; by default the system's folder for temporary files.
    names : collection of str
        What will stand in it. Folders that hold anything else are nobody's of ours, and are not deleted.
    """

    def __init__(self, parent: str | None, names: Collection[str]) -> None:
        parent = tempfile.gettempdir() if parent is None else parent
        delete_abandoned(parent, names)
        self._pid = os.getpid()
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{TOKEN}-", suffix=SUFFIX, dir=parent))
        self._lock: int | None = None
        if fcntl is not None:
            self._lock = os.open(self.path / NEW_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            with contextlib.suppress(OSError):  # a file system without locks: the folder is never deleted
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # under its name only when it is locked: a lock that can be had means a process that is gone
                (self.path / NEW_LOCK).replace(self.path / LOCK)

    def renamed(self) -> None:
        """Give up the lock: the folder is about to be renamed, and is the process's own no longer."""
        for name in (LOCK, NEW_LOCK):
            (self.path / name).unlink(missing_ok=True)
        self._unlock()

    def delete(self) -> None:
        """Delete the folder; nothing in a forked child, which has not made it."""
        if os.getpid() == self._pid:
            shutil.rmtree(self.path, ignore_errors=True)
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def delete_abandoned(parent: str, names: Collection[str]) -> None:
    """Delete the folders of processes that are gone: this user's, that hold nothing but `names`."""
    if fcntl is None:
        return
    # its own are not tried: some network file systems give a process a lock that it has already
    own = f"{PREFIX}{TOKEN}-"
    with os.scandir(parent) as entries:
        found = [
            Path(each.path)
            for each in entries
            if each.name.startswith(PREFIX) and each.name.endswith(SUFFIX) and not each.name.startswith(own)
        ]
    for folder in found:
        with contextlib.suppress(OSError):  # another process deletes it meanwhile
            _delete_if_abandoned(folder, {*names, LOCK, NEW_LOCK})


def _delete_if_abandoned(folder: Path, names: Collection[str]) -> None:
    status = folder.lstat()
    held = os.listdir(folder) if stat.S_ISDIR(status.st_mode) else None  # noqa: PTH208
    if held is None or status.st_uid != os.geteuid() or not set(held) <= set(names):
        return
    if LOCK not in held:
        if time.time() - status.st_mtime > YOUNG:
            shutil.rmtree(folder)
        return
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError, an OSError: it is in use
        shutil.rmtree(folder)
    finally:
        os.close(lock)
