"""How much memory this process may still take, as far as the system says."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_MEMINFO, _STATUS, _GROUPS = Path("/proc/meminfo"), Path("/proc/self/status"), Path("/proc/self/cgroup")
_GROUP_ROOT = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60  # version 1 of control groups says "no limit" by a number as large as an address


def available_memory() -> int | None:
    """Return the bytes that this process may still take; None where the system does not say.

    The least of what the machine has free (or can free), what the control groups of the process leave
    (containers, systemd-run), and what its limit of address space leaves (ulimit -v, prlimit).
    """
    found = [_of_machine(), _of_groups(), _of_address_space()]
    return min((each for each in found if each is not None), default=None)


def _of_machine() -> int | None:
    free = _field(_MEMINFO, "MemAvailable:")
    if free is not None:
        return free
    with contextlib.suppress(ValueError, OSError, AttributeError):  # not Linux: all memory there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_groups() -> int | None:
    """Return what the process's control groups, and those around them, leave: version 2, then version 1."""
    left: list[int] = []
    for line in _lines(_GROUPS):
        _, kinds, place = [*line.split(":", 2), "", ""][:3]
        if kinds == "":
            root, limit, used = _GROUP_ROOT, "memory.max", "memory.current"
        elif "memory" in kinds.split(","):
            root, limit, used = _GROUP_ROOT / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        folder = root / place.lstrip("/")
        for each in (folder, *folder.parents):
            most, now = _number(each / limit), _number(each / used)
            if most is not None and now is not None and most < _UNLIMITED:
                left.append(max(0, most - now))
            if each == root:
                break
    return min(left, default=None)


def _of_address_space() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    held = _field(_STATUS, "VmSize:")
    if limit == resource.RLIM_INFINITY or held is None:
        return None
    return max(0, limit - held)


def _field(file: Path, name: str) -> int | None:
    """Return the bytes in a line such as "MemAvailable:  123 kB"."""
    for line in _lines(file):
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return None


def _number(file: Path) -> int | None:
    lines = _lines(file)
    return int(lines[0]) if lines and lines[0].strip().isdecimal() else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
