"""Numbers of every format, as the kernels store them and as NumPy counts with them."""

from __future__ import annotations

import numpy as np

EPS = {"float32": 2.0**-23, "float64": 2.0**-52, "float16": 2.0**-10, "bfloat16": 2.0**-7}


def stored(values, form):
    """Round float64 values to a format; bfloat16 is the uint16 of its bits."""
    if form != "bfloat16":
        return np.asarray(values, dtype=form)
    bits = np.asarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FFF), rounded)


def numbers(a, form):
    """Return what stored numbers are, as float64."""
    a = np.asarray(a)
    if form == "bfloat16":
        a = (a.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return a.astype(np.float64)


def computed(form):
    """Return the dtype that a format is computed in."""
    return np.float64 if form == "float64" else np.float32
