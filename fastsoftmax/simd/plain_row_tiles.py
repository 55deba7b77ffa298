"""Plain-Python equivalents of the functions of `row_tiles`, for kernels that run without a compiler."""

from __future__ import annotations

import numpy as np

from fastsoftmax.simd.sizes import REGISTER_BYTES


def _parts(x, first):
    """Return a tile's row slice, x − max, the row maxima, e^(x − max) and its row sums."""
    rows = slice(first, first + REGISTER_BYTES // x.itemsize)
    top = np.fmax.reduce(x[rows], axis=1, keepdims=True, initial=-np.inf)
    with np.errstate(all="ignore"):
        differences = x[rows] - top
        powers = np.exp(differences)
        return rows, differences, top, powers, powers.sum(axis=1, keepdims=True)


def softmax_tile(x, out, first, exact):  # noqa: D103
    rows, _, _, powers, total = _parts(x, first)
    with np.errstate(all="ignore"):
        out[rows] = powers / total
    return True


def log_softmax_tile(x, out, first, exact):  # noqa: D103
    rows, differences, top, _, total = _parts(x, first)
    with np.errstate(all="ignore"):
        out[rows] = differences - np.log(total)
    return bool(np.isfinite(top).all())


def logsumexp_tile(x, out, first, exact):  # noqa: D103
    rows, _, top, _, total = _parts(x, first)
    with np.errstate(all="ignore"):
        out[rows] = (top + np.log(total))[:, 0]
    return bool(np.isfinite(top).all())


def cross_entropy_tile(x, slopes, target, ignore_index, own, values, first, with_slopes, exact):  # noqa: D103
    rows, differences, _, powers, total = _parts(x, first)
    counted = (own != 0) & (target[rows] != ignore_index)
    at = np.arange(len(counted)), np.where(counted, target[rows], 0)
    with np.errstate(all="ignore"):
        values[:] = np.where(counted, own * (np.log(total[:, 0]) - differences[at]), 0)
        shares = powers / total
        shares[at] -= 1
        if with_slopes:
            slopes[rows] = np.where(counted[:, None], own[:, None] * shares, 0)
    return values.sum()
