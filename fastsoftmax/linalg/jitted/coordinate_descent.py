"""Coordinate descent on a quadratic plus absolute values, whose matrix is blocks and a low rank."""

from __future__ import annotations

import numpy as np

from fastsoftmax.runtime.jitted import kernel


@kernel(
    signatures=["i8:1C,f8:1C,f8:2C,f8:2C,f8:1C,f8:1C,f8:1C,f8:1C,d,q,f8:1C"],
    fastmath={"reassoc", "contract"},
)
def descend(
    start, stop, part, starts, blocks, low, scaled, slope, curvature, thresholds, x, goal, max_sweeps, told
):
    """Lower slope · (x − x₀) + ½ (x − x₀)ᵀ (B − low scaledᵀ) (x − x₀) + Σ t |x| from x = x₀, in place.

    Blocks start to stop of B stand one after another in `blocks`, their rows from `starts` (k + 1,) on; `low`
    and `scaled` are (m, r), `curvature` (m,) the whole diagonal. A sweep of all m coordinates is
    followed by sweeps of those that are not zero, until these gain a third of `goal` at most; it ends where
    one of all gains no more than `goal`, or after `max_sweeps`. Writes their number to told[part].
    """
    m, rank = low.shape
    moved = np.zeros(m)  # B (x − x₀)
    sums = np.zeros(rank)  # scaledᵀ (x − x₀)
    order = np.empty(m, np.int64)
    n_free = 0
    whole = True
    n_sweeps = 0
    while n_sweeps < max_sweeps:
        count = m if whole else n_free
        if whole:
            n_free = 0
        gain = 0.0
        block, offset, first, width = start - 1, 0, 0, 0
        last = 0
        for i in range(count):
            j = i if whole else order[i]
            while j >= last:
                block += 1
                offset += width * width
                first, last = starts[block], starts[block + 1]
                width = last - first
            derivative = slope[j] + moved[j]
            for r in range(rank):
                derivative -= low[j, r] * sums[r]
            target = x[j] - derivative / curvature[j]
            threshold = thresholds[j] / curvature[j]
            new = 0.0
            if target > threshold:
                new = target - threshold
            elif target < -threshold:
                new = target + threshold
            change = new - x[j]
            if change != 0.0:
                x[j] = new
                gain += 0.5 * curvature[j] * change * change
                row = offset + (j - first) * width
                for i2 in range(width):
                    moved[first + i2] += change * blocks[row + i2]
                for r in range(rank):
                    sums[r] += change * scaled[j, r]
            if whole and (new != 0.0 or thresholds[j] == 0.0):
                order[n_free] = j
                n_free += 1
        n_sweeps += 1
        if whole:
            if gain <= goal:
                break
            whole = n_free == 0
        elif gain <= 0.3 * goal:
            whole = True
    told[part] = n_sweeps
