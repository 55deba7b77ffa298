"""How sizes stand in messages."""

from __future__ import annotations


def in_bytes(n_bytes: float) -> str:
    """Return a number of bytes in a unit that suits it.

    Examples
    --------
    >>> in_bytes(900), in_bytes(2**20), in_bytes(1.5 * 2**30)
    ('900 bytes', '1.0 MiB', '1.5 GiB')
    """
    size = float(n_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1000.0:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024.0
    return f"{size:.1f} TiB"
