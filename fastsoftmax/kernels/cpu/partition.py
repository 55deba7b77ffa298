"""How rows are cut into parts and tiles: by the shape of the problem alone, never by the threads at hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastsoftmax.kernels.executor import even_bounds
from fastsoftmax.kernels.thin import MOST_CLASSES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTIAL_SUMS_BYTES = 64 * 2**20  # what all partial gradients together may take
MOST_PARTS = 64
LEAST_PARTS = 8
MOST_GRADIENTS = 8  # more in one pass save little: it is computing that takes the time
TILE_BYTES = 2**18  # a tile of X stays in a second-level cache between its two uses
MOST_TILE_ROWS = 1024
LEAST_TILE_ROWS = 64
# A tile's product is added to a float64 gradient: where that lies outside the first caches, adding costs as
# much as a few dozen rows' products, so that a tile should have many more. (Bytes of a gradient, least rows.)
LEAST_ROWS_BY_BYTES = ((2**18, LEAST_TILE_ROWS), (2**20, 256), (2**22, 512), (math.inf, 1024))
CLASS_RANGE = 768  # logits of more classes are computed a range of them at a time
LOGITS_BYTES = 2**19  # a tile of logits stays in a second-level cache until they are used
GATHERED_BYTES = 2**21
FIRST_CACHE = 2**15
PART_PRODUCTS = 2**23  # parts of a product long enough to hide what starting one costs


def tile_rows(n_features: int, n_outputs: int, itemsize: int, n_maps: int = 1) -> int:
    """Return how many rows of X and of their logits are worked on at a time; a multiple of 16."""
    rows = TILE_BYTES // (itemsize * (n_features + n_maps * n_outputs))
    gradient = 8 * n_features * n_outputs
    least = next(rows for most, rows in LEAST_ROWS_BY_BYTES if gradient <= most)
    return int(min(max(rows, least), MOST_TILE_ROWS)) // 16 * 16


def logits_tile(n_outputs: int, n_maps: int) -> int:
    """Return how many rows' logits are worked on at a time where rows of X are sparse; a multiple of 16."""
    rows = FIRST_CACHE // (8 * n_maps * n_outputs)
    return int(min(max(rows, 16), LEAST_TILE_ROWS)) // 16 * 16


def is_wide(gradient_size: int) -> bool:
    """Whether gradients of their own would leave too few parts for the threads to share."""
    return LEAST_PARTS * 8 * gradient_size > PARTIAL_SUMS_BYTES


def gradients_together(gradient_size: int) -> int:
    """Return how many gradients may be summed in one pass, with parts enough for each."""
    return max(1, min(MOST_GRADIENTS, PARTIAL_SUMS_BYTES // (LEAST_PARTS * 8 * gradient_size)))


def class_bounds(n_outputs: int) -> NDArray[np.int64]:
    """Return the bounds of nearly equal ranges of classes, whose logits are computed together."""
    return even_bounds(n_outputs, -(-n_outputs // CLASS_RANGE))


def logits_rows(n_features: int, n_columns: int, itemsize: int) -> int:
    """Return how many rows to take at a time where logits of so many classes are all that is computed.

    BLAS packs the coefficients anew for every tile, which more rows pay for; it has no need of a tile of X in
    cache, as the thin products have.
    """
    if n_columns <= MOST_CLASSES:
        return tile_rows(n_features, n_columns, itemsize)
    room = GATHERED_BYTES // (itemsize * max(1, n_features))
    rows = min(LOGITS_BYTES // (itemsize * n_columns), max(room, LEAST_TILE_ROWS), MOST_TILE_ROWS)
    return int(rows) // 16 * 16


def product_bounds(n_rows: int, coef_size: int) -> NDArray[np.int64]:
    """Return the bounds of the parts that compute logits; few rows are cut finely where classes are many."""
    least_rows = max(LEAST_TILE_ROWS, PART_PRODUCTS // max(1, coef_size))
    return even_bounds(n_rows, max(1, min(MOST_PARTS, n_rows // least_rows)))


def row_bounds(n_rows: int, gradient_size: int, least_rows: int) -> NDArray[np.int64]:
    """Return the bounds of the parts that each sum into a float64 gradient of their own.

    No more parts than the partial gradients have room for, nor shorter ones than `least_rows`.
    """
    room = PARTIAL_SUMS_BYTES // (8 * max(1, gradient_size))
    return even_bounds(n_rows, max(1, min(MOST_PARTS, room, n_rows // max(1, least_rows))))
