"""The partition of rows into parts and tiles, by the problem's shape alone, never by the threads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastsoftmax.runtime.executor import even_bounds
from fastsoftmax.runtime.width import width

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What all partial gradients together may take. Adding them up, on one thread, is paid once a pass: about 6 ms
# for 64 MiB (an estimate, docs/performance.md); ten times as much would outweigh many a pass.
PARTIAL_SUMS_BYTES = 64 * 2**20
MAX_PARTS = 64  # so many threads can share a pass; each part has a partial gradient to clear and to add
MIN_PARTS = 8  # fewer would leave most threads idle: then they share one gradient
MAX_GRADIENTS = 8  # in one pass over X; more save little, as the products then take the time, not reading X
TILE_BYTES = 2**18  # a tile of X and its logits stay in a second-level cache (1 MiB) between their two uses
MAX_TILE_ROWS = 1024
MIN_TILE_ROWS = 64
# A tile's product is added to a float64 gradient: where that lies outside the first caches, adding it costs
# as much as a few dozen rows' products, so that a tile should have many more. (Bytes of a gradient, minimal
# rows.) Measured on two cores of an AMD EPYC at 20,000 × 768 × 1,000 float32, in units of the time of the
# products alone: 512 rows 1.20 to 1.30, 1,024 rows 1.18, 2,000 rows 1.15, which take 14 MB a thread.
MIN_ROWS_BY_BYTES = ((2**18, MIN_TILE_ROWS), (2**20, 256), (2**22, 512), (math.inf, 1024))
# Logits of more classes are computed a range at a time: at 768 a tile of LOGITS_BYTES still has some 170
# float32 rows, enough for BLAS to be worth packing the coefficients for.
CLASS_RANGE = 768
LOGITS_BYTES = 2**19  # a tile of logits stays in a second-level cache until they are used
GATHERED_BYTES = 2**21  # of a tile of X, for each thread, where it is gathered for logits only
FIRST_CACHE = 2**15  # bytes of a first-level cache: a sparse tile's logits stay in it
PART_PRODUCTS = 2**23  # multiplications of a part, at least: a part then takes longer than starting it


def tile_rows(n_features: int, n_outputs: int, itemsize: int, n_maps: int = 1) -> int:
    """Return the rows of a tile of dense X and its logits; a multiple of 16, from 64 to 1024.

    `itemsize` is that of the products' dtype; `n_maps` counts the linear maps (a direction is a second one).
    """
    rows = TILE_BYTES // (itemsize * (n_features + n_maps * n_outputs))
    gradient = 8 * n_features * n_outputs
    min_rows = next(rows for max_bytes, rows in MIN_ROWS_BY_BYTES if gradient <= max_bytes)
    return int(min(max(rows, min_rows), MAX_TILE_ROWS)) // 16 * 16


def sparse_tile_rows(n_outputs: int, n_maps: int) -> int:
    """Return the rows of a tile of logits where X is sparse; a multiple of 16, from 16 to 64."""
    rows = FIRST_CACHE // (8 * n_maps * n_outputs)
    return int(min(max(rows, 16), MIN_TILE_ROWS)) // 16 * 16


def is_wide(gradient_size: int) -> bool:
    """Return whether gradients of this many elements are too large for `MIN_PARTS` partial ones."""
    return MIN_PARTS * 8 * gradient_size > PARTIAL_SUMS_BYTES


def gradients_together(gradient_size: int) -> int:
    """Return how many gradients of this size are summed in one pass, with at least `MIN_PARTS` parts each."""
    return max(1, min(MAX_GRADIENTS, PARTIAL_SUMS_BYTES // (MIN_PARTS * 8 * gradient_size)))


def class_bounds(n_outputs: int) -> NDArray[np.int64]:
    """Return the bounds, int64, of nearly equal ranges of at most `CLASS_RANGE` classes."""
    return even_bounds(n_outputs, -(-n_outputs // CLASS_RANGE))


def logits_rows(n_features: int, n_columns: int, itemsize: int) -> int:
    """Return the rows of a tile where only logits, of `n_columns` classes at a time, are computed.

    BLAS packs the coefficients again for every tile, which more rows amortise; unlike the skinny products it
    does not need the tile of X in cache.
    """
    if n_columns <= width().max_classes:
        return tile_rows(n_features, n_columns, itemsize)
    limit = GATHERED_BYTES // (itemsize * max(1, n_features))
    rows = min(LOGITS_BYTES // (itemsize * n_columns), max(limit, MIN_TILE_ROWS), MAX_TILE_ROWS)
    return int(rows) // 16 * 16


def product_bounds(n_rows: int, coef_size: int) -> NDArray[np.int64]:
    """Return the bounds, int64, of the parts that compute logits; the more classes, the fewer rows a part."""
    min_rows = max(MIN_TILE_ROWS, PART_PRODUCTS // max(1, coef_size))
    return even_bounds(n_rows, max(1, min(MAX_PARTS, n_rows // min_rows)))


def row_bounds(n_rows: int, gradient_size: int, min_rows: int) -> NDArray[np.int64]:
    """Return the bounds, int64, of the parts that each sum into a float64 partial gradient.

    There are at most as many parts as `PARTIAL_SUMS_BYTES` holds gradients, of at least `min_rows` rows each.
    """
    limit = PARTIAL_SUMS_BYTES // (8 * max(1, gradient_size))
    return even_bounds(n_rows, max(1, min(MAX_PARTS, limit, n_rows // max(1, min_rows))))
