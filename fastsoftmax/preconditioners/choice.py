"""The form of the preconditioner for a problem, and the number of rows that are worth summing it over.

Both depend on the shape alone: nothing is timed, so that a fit repeats to the bit.
"""

from __future__ import annotations

import numpy as np

# The largest K (d + 1) for the whole Hessian, whose sums cost K²/2 Gram matrices: ten times as large, they
# and the factor would cost many passes.
FULL_ORDER = 256
EXPLICIT_ORDER = 2048  # the largest Hessian that is factorised on request (32 MiB; D³ / 3 = 3 Gflop)
BLOCKS_BYTES = 40 * 2**20  # of class blocks, or of the matrices of a spectrum: memory against passes saved
# The Gram matrix of all rows costs n d² flops once, a pass 4 n d K: so many features a class are four passes.
FEATURES_PER_CLASS = 16
GRAM_MATRICES = 3  # of order d, held during its eigendecomposition
# A sample must have several rows for each column (ROWS_PER_COLUMN), and may take as long as a few passes
# (SAMPLE_WORK). Builds of fewer than SMALL_BUILD flops are not worth sampling for: with 3e8, Fashion-MNIST
# and shuttle took a tenth less time than with 5e9 (docs/decisions.md).
ROWS_PER_COLUMN = 8
SAMPLE_WORK = 32
SMALL_BUILD = 3 * 10**8
# The other costs of a pass, expressed in flops: an exponential, and a solver's work between two passes.
EXPONENTIAL, STEP = 40, 10**7


def form_of(n_classes: int, n_features: int) -> tuple[str, type]:
    """Return "full", "block diagonal", "kronecker" or "diagonal", and the dtype of its sums."""
    size = n_features + 1
    if n_classes * size <= FULL_ORDER:
        return "full", np.float64
    for dtype in (np.float64, np.float32):
        if n_classes * size**2 * np.dtype(dtype).itemsize <= BLOCKS_BYTES:
            return "block diagonal", dtype
    fits = GRAM_MATRICES * 8 * size**2 <= BLOCKS_BYTES
    return "kronecker" if fits and n_features <= FEATURES_PER_CLASS * n_classes else "diagonal", np.float64


def rows_worth(form: str, n_rows: int, n_classes: int, n_features: int) -> int:
    """Return the number of rows that are worth summing a preconditioner over; may exceed n_rows."""
    order = (n_features + 1) * (n_classes if form == "full" else 1)
    # A pass is two products of n d K; the sums over all rows are K n D², or n (K D)² for the whole Hessian.
    return max(SAMPLE_WORK * n_rows // order, int(ROWS_PER_COLUMN * order), SMALL_BUILD // (order * order))


def passes_worth(form: str, n_summed: int, n_rows: int, n_classes: int, n_features: int) -> float:
    """Return the approximate cost of a preconditioner summed over n_summed rows, in passes over n_rows."""
    if form in ("kronecker", "diagonal"):
        return 1.0  # the curvatures; the Gram matrix is summed once
    flops = build_flops(form, n_summed, n_classes, n_features)
    # a sample needs the diagonal of all rows, too
    return flops / pass_flops(n_rows, n_classes, n_features) + (n_summed < n_rows)


def build_flops(form: str, n_summed: int, n_classes: int, n_features: int) -> float:
    """Return the flops of the sums and factors of a "full" or "block diagonal" preconditioner."""
    order = n_features + 1
    if form == "full":
        return n_classes * (n_classes + 1) / 2 * n_summed * order**2 + (n_classes * order) ** 3 / 3
    return n_classes * (n_summed * order**2 + order**3 / 3)


def pass_flops(n_rows: int, n_classes: int, n_features: int) -> float:
    """Return the cost of a pass and of a solver's step, in flops."""
    return n_rows * n_classes * (4.0 * n_features + EXPONENTIAL) + STEP
