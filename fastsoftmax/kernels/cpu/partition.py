"""How rows are cut into parts and tiles: by the shape of the problem alone, never by the threads at hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fastsoftmax.kernels.executor import even_bounds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTIAL_SUMS_BYTES = 64 * 2**20  # what all partial gradients together may take
MOST_PARTS = 64
LEAST_PARTS = 8
TILE_BYTES = 2**18  # a tile of X stays in a second-level cache between its two uses
MOST_TILE_ROWS = 1024
# A tile's product is added to a float64 gradient: where that lies outside the first caches, adding costs as
# much as a few dozen rows' products, so that a tile should have many more.
LEAST_TILE_ROWS = ((2**18, 64), (2**20, 256), (math.inf, 512))  # for gradients of at most so many bytes


def tile_rows(n_features: int, n_outputs: int, itemsize: int, n_maps: int = 1) -> int:
    """Return how many rows of X and of their logits are worked on at a time; a multiple of 16."""
    rows = TILE_BYTES // (itemsize * (n_features + n_maps * n_outputs))
    gradient = 8 * n_features * n_outputs
    least = next(rows for most, rows in LEAST_TILE_ROWS if gradient <= most)
    return int(min(max(rows, least), MOST_TILE_ROWS)) // 16 * 16


def is_wide(gradient_size: int) -> bool:
    """Whether gradients of their own would leave too few parts for the threads to share."""
    return LEAST_PARTS * 8 * gradient_size > PARTIAL_SUMS_BYTES


def row_bounds(n_rows: int, gradient_size: int, least_rows: int) -> NDArray[np.int64]:
    """Return the bounds of the parts that each sum into a float64 gradient of their own.

    No more parts than the partial gradients have room for, nor shorter ones than `least_rows`.
    """
    room = PARTIAL_SUMS_BYTES // (8 * max(1, gradient_size))
    return even_bounds(n_rows, max(1, min(MOST_PARTS, room, n_rows // max(1, least_rows))))
