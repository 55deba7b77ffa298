"""Gram matrices of a few columns of sparse rows for each class, which has its own weights of the rows."""

from __future__ import annotations

import numpy as np

from fastsoftmax.runtime.jitted import kernel


@kernel(
    signatures=["i8:1C,i8:1C,f8:1C,f8:2C,i8:1C,i8:1C,i8:1C,i8:1C,i8:1C,q,f8:1C"],
    fastmath={"contract"},
)
def add(start, stop, part, indptr, indices, data, roots, items, classes, places, offsets, widths, most, out):
    """Add Σ rᵢₖ² (x, 1) (x, 1)ᵀ over rows start to stop to class k's block of `out`, for each k.

    Rows are CSR, `roots` (n, K). Feature j is column places[t] of the block of classes[t] for t from items[j]
    to items[j + 1]; a block has `widths[k]` rows, the last of which is that of the ones, and begins at
    `offsets[k]` of `out`. `most` is the most columns that a row meets.
    """
    n_classes = len(widths)
    newest = np.empty(n_classes, np.int64)  # a row's last item of each class, and from each the one before
    before = np.empty(most, np.int64)
    place = np.empty(most, np.int64)
    value = np.empty(most, np.float64)
    for i in range(start, stop):
        newest[:] = -1
        n_met = 0
        for e in range(indptr[i], indptr[i + 1]):
            x = data[e]
            for t in range(items[indices[e]], items[indices[e] + 1]):
                k = classes[t]
                width, offset, p = widths[k], offsets[k], places[t]
                v = x * roots[i, k]
                other = newest[k]
                while other >= 0:
                    product = v * value[other]
                    out[offset + p * width + place[other]] += product
                    out[offset + place[other] * width + p] += product
                    other = before[other]
                out[offset + p * width + p] += v * v
                out[offset + p * width + width - 1] += v * roots[i, k]
                before[n_met] = newest[k]
                newest[k] = n_met
                place[n_met] = p
                value[n_met] = v
                n_met += 1
        for k in range(n_classes):
            out[offsets[k] + widths[k] * widths[k] - 1] += roots[i, k] * roots[i, k]
