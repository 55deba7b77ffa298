"""Sizes of memory as callers give them."""

from __future__ import annotations

import re

import numpy as np

from fastsoftmax.contracts.wording import shown

MEMORY = 2**30  # bytes, by default: what a fit holds besides parameters
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def memory_of(memory: int | str | None) -> int:
    """Return a number of bytes.

    Raises
    ------
    ValueError
        It is not positive, or no number with a unit K, M, G or T.

    Examples
    --------
    >>> memory_of("1.5G"), memory_of("200 MB"), memory_of(None)
    (1610612736, 209715200, 1073741824)
    """
    if memory is None:
        return MEMORY
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)(?:i?B)?\s*", memory, re.IGNORECASE)
        if found is None:
            raise ValueError(f'memory must be bytes or a text such as "500M" or "2G"; got {shown(memory)}')
        memory = int(float(found[1]) * _UNITS[found[2].upper()])
    if isinstance(memory, bool) or not isinstance(memory, int | np.integer):
        raise TypeError(f"memory must be bytes or a text such as '2G'; got {shown(memory)}")
    if memory <= 0:
        raise ValueError(f"memory must be positive; got {memory}")
    return int(memory)
