"""Products of rows with one output's coefficients: matrix times vector, forward and back.

The skinny products fill registers with classes, of which one is left here: 1,000 × 20 took 45 µs by those.
"""

from __future__ import annotations

import numpy as np

from fastsoftmax.runtime.jit import inner

REASSOCIATED = {"reassoc", "contract"}  # sums in registers: the order is that of the machine code


@inner(fastmath=REASSOCIATED)
def dots_to(tile, coef, out):
    """Write tile (n, d) · coef (d,) to out (n, 1), of one dtype."""
    for i in range(tile.shape[0]):
        row = tile[i]
        total = coef.dtype.type(0)
        for j in range(len(row)):
            total += row[j] * coef[j]
        out[i, 0] = total


@inner(fastmath=REASSOCIATED)
def outer_to(dlogits, tile, out):
    """Write dlogits (n, 1)ᵀ · tile (n, d) to out (1, d), of one dtype, four rows in one sweep."""
    n_rows = tile.shape[0]
    total = out[0]
    total[:] = 0
    for i in range(0, n_rows - 3, 4):
        r0, r1, r2, r3 = dlogits[i, 0], dlogits[i + 1, 0], dlogits[i + 2, 0], dlogits[i + 3, 0]
        x0, x1, x2, x3 = tile[i], tile[i + 1], tile[i + 2], tile[i + 3]
        for j in range(len(total)):
            total[j] += r0 * x0[j] + r1 * x1[j] + r2 * x2[j] + r3 * x3[j]
    for i in range(n_rows // 4 * 4, n_rows):
        r0, x0 = dlogits[i, 0], tile[i]
        for j in range(len(total)):
            total[j] += r0 * x0[j]


@inner
def gathered_dot(data, indices, first, last, column):
    """Return Σₑ dataₑ · column[indicesₑ], e from first to before last.

    `column` is (d, 1), of the dtype of data, in which the sum runs: four sums, as each waits for its last
    addition. Gathers of whole registers take longer than loads one by one.
    """
    x, places = data[first:last], indices[first:last]
    t0 = t1 = t2 = t3 = data.dtype.type(0)
    whole = len(x) // 4 * 4
    for e in range(0, whole, 4):
        x0, x1, x2, x3 = x[e], x[e + 1], x[e + 2], x[e + 3]
        # Unsigned: a signed index might count from the end, which is asked for each.
        t0 += x0 * column[np.uint64(places[e]), 0]
        t1 += x1 * column[np.uint64(places[e + 1]), 0]
        t2 += x2 * column[np.uint64(places[e + 2]), 0]
        t3 += x3 * column[np.uint64(places[e + 3]), 0]
    for e in range(whole, len(x)):
        t0 += x[e] * column[np.uint64(places[e]), 0]
    return (t0 + t1) + (t2 + t3)
