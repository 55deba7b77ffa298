"""Arithmetic on long vectors, one reading of each."""

from __future__ import annotations

import numpy as np

from fastsoftmax.linalg.sizes import BLOCK
from fastsoftmax.runtime.jitted import kernel

FLOATS = ("f4", "f8")


REASSOCIATED = {"reassoc", "contract"}  # sums in registers: the order is that of the machine code


@kernel(
    signatures=[f"{rows}:2C,i8:1C,{b}:1C,f8:2C" for rows in FLOATS for b in FLOATS], fastmath=REASSOCIATED
)
def dots(start, stop, part, rows, places, b, totals):
    """Add the products of rows[places] (m, n) with b (n,), over elements start to stop, to totals[part] (m,).

    Four rows at a time: a single stream does not reach the memory's bandwidth (docs/decisions.md: twelve rows
    of 1.7 million 1.3 to 2.1 times as fast as one by one).
    """
    m = len(places)
    total = totals[part]
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        other = b[first:last]  # Numba proves that a slice's own range is in bounds, and then vectorises
        for r in range(0, m - 3, 4):
            row0, row1 = rows[places[r], first:last], rows[places[r + 1], first:last]
            row2, row3 = rows[places[r + 2], first:last], rows[places[r + 3], first:last]
            t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
            for i in range(len(other)):
                t0 += row0[i] * other[i]
                t1 += row1[i] * other[i]
                t2 += row2[i] * other[i]
                t3 += row3[i] * other[i]
            total[r] += t0
            total[r + 1] += t1
            total[r + 2] += t2
            total[r + 3] += t3
        for r in range(m // 4 * 4, m):
            row = rows[places[r], first:last]
            t0 = 0.0
            for i in range(len(other)):
                t0 += row[i] * other[i]
            total[r] += t0


@kernel(
    signatures=[f"f8:1C,{rows}:2C,i8:1C,d,f8:1C,f8:1C,f8:1C,f8:1C" for rows in FLOATS], fastmath=REASSOCIATED
)
def combine(start, stop, part, scales, rows, places, factor, a, b, out, totals):
    """Write factor · a + Σ scalesᵣ · rows[placesᵣ] to out (n,), and its product with b to totals[part]."""
    m = len(places)
    total = 0.0
    for first in range(start, stop, BLOCK):
        last = min(first + BLOCK, stop)
        own, other = out[first:last], a[first:last]
        for i in range(len(own)):
            own[i] = factor * other[i]
        for r in range(0, m - 3, 4):
            row0, row1 = rows[places[r], first:last], rows[places[r + 1], first:last]
            row2, row3 = rows[places[r + 2], first:last], rows[places[r + 3], first:last]
            s0, s1, s2, s3 = scales[r], scales[r + 1], scales[r + 2], scales[r + 3]
            for i in range(len(own)):
                own[i] += (s0 * row0[i] + s1 * row1[i]) + (s2 * row2[i] + s3 * row3[i])
        for r in range(m // 4 * 4, m):
            row, scale = rows[places[r], first:last], scales[r]
            for i in range(len(own)):
                own[i] += scale * row[i]
        other = b[first:last]
        for i in range(len(own)):
            total += own[i] * other[i]
    totals[part] = total


@kernel(
    signatures=[f"f8:1C,f8:1C,f8:1C,f8:1C,f8:1C,f8:1C,{out}:1C,{out}:1C,{out}:1C,f8:2C" for out in FLOATS],
    fastmath=REASSOCIATED,
)
def differ(start, stop, part, new0, new1, new2, old0, old1, old2, out0, out1, out2, totals):
    """Write newₘ − oldₘ to outₘ, and the products of the differences to totals (n_parts, 6)."""
    aa, ab, ac, bb, bc, cc = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for first in range(start, stop, BLOCK):
        block = slice(first, min(first + BLOCK, stop))
        left0, left1, left2 = new0[block], new1[block], new2[block]
        right0, right1, right2 = old0[block], old1[block], old2[block]
        result0, result1, result2 = out0[block], out1[block], out2[block]
        for i in range(len(result0)):
            result0[i] = left0[i] - right0[i]
            result1[i] = left1[i] - right1[i]
            result2[i] = left2[i] - right2[i]
        for i in range(len(result0)):
            a, b, c = np.float64(result0[i]), np.float64(result1[i]), np.float64(result2[i])
            aa += a * a
            ab += a * b
            ac += a * c
            bb += b * b
            bc += b * c
            cc += c * c
    total = totals[part]
    total[0], total[1], total[2], total[3], total[4], total[5] = aa, ab, ac, bb, bc, cc


@kernel(signatures=["f8:1C,f8:1C"])
def copy(start, stop, _, a, out):
    """Copy elements start to stop of a (n,) to out."""
    for i in range(start, stop):
        out[i] = a[i]


@kernel(signatures=[f"f8:1C,f8:1C,d,{out}:1C" for out in FLOATS])
def moved(start, stop, _, a, b, factor, out):
    """Write a + factor · b to out, which may be a or b."""
    left, right, result = a[start:stop], b[start:stop], out[start:stop]
    for i in range(len(result)):
        result[i] = left[i] + factor * right[i]


@kernel(signatures=["f8:1C,d,d,f8:1C,f8:1C"], fastmath=REASSOCIATED)
def penalise(start, stop, part, sums, scale, l2, coef, squares):
    """Turn sums into scale · sums + l2 · coef; write Σ coef² to squares[part]."""
    own, other = sums[start:stop], coef[start:stop]
    total = 0.0
    for i in range(len(own)):
        own[i] = scale * own[i] + l2 * other[i]
        total += other[i] * other[i]
    squares[part] = total
