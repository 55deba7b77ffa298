"""Which form of a preconditioner fits a problem, and how many rows it is worth summing it over.

Both go by the shape alone: nothing is timed, so that a fit repeats to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

WHOLE_ORDER = 256
EXPLICIT_ORDER = 2048  # of a Hessian that is factorised when somebody asks for it: 32 MiB
BLOCKS_BYTES = 40 * 2**20
# The Gram matrix of all rows costs n d² flops once, a pass 4 n d K: so many features a class are four passes.
FEATURES_PER_CLASS = 16
GRAM_MATRICES = 3  # of order d, held while it is brought to its axes
# A sample of the rows is enough where it has several rows for each column, and where its sums cost a few
# passes; small ones, of so many flops, are not worth sampling for.
ROWS_PER_COLUMN = 8
SAMPLE_SHARE = 32
SMALL_BUILD = 3 * 10**8
# What a pass takes besides its 4 n d K flops, in as many flops as take as long: an exponential, and what a
# solver does between two passes.
EXPONENTIAL, STEP = 40, 10**7


def form_of(n_classes: int, n_features: int) -> tuple[str, Any]:
    """Return "whole", "class blocks", "gram" or "diagonal", and the dtype of its sums."""
    size = n_features + 1
    if n_classes * size <= WHOLE_ORDER:
        return "whole", np.float64
    for dtype in (np.float64, np.float32):
        if n_classes * size**2 * np.dtype(dtype).itemsize <= BLOCKS_BYTES:
            return "class blocks", dtype
    fits = GRAM_MATRICES * 8 * size**2 <= BLOCKS_BYTES
    return "gram" if fits and n_features <= FEATURES_PER_CLASS * n_classes else "diagonal", np.float64


def rows_worth(form: str, n_rows: int, n_classes: int, n_features: int) -> int:
    """Return how many rows are worth summing a preconditioner over; it may be more than there are."""
    order = (n_features + 1) * (n_classes if form == "whole" else 1)
    # n d K flops twice are a pass; K n D² (or n (K D)²) are the sums over all rows.
    return max(SAMPLE_SHARE * n_rows // order, int(ROWS_PER_COLUMN * order), SMALL_BUILD // (order * order))


def passes_worth(form: str, n_summed: int, n_rows: int, n_classes: int, n_features: int) -> float:
    """Return about how many passes over n_rows take as long as a preconditioner of n_summed of them."""
    if form in ("gram", "diagonal"):
        return 1.0  # the curvatures; the Gram matrix is summed once
    order = n_features + 1
    if form == "whole":
        flops = n_classes * (n_classes + 1) / 2 * n_summed * order**2 + (n_classes * order) ** 3 / 3
    else:
        flops = n_classes * (n_summed * order**2 + order**3 / 3)
    one_pass = n_rows * n_classes * (4 * n_features + EXPONENTIAL) + STEP
    return flops / one_pass + (n_summed < n_rows)  # which takes the diagonal of all rows besides
