"""The assignment of threads to rows and their parts.

Three shapes serve K from 2 to 262,144; all of them hold the elements that they read in registers:

- "warp": up to 32 threads a row, several rows a block;
- "block": one block a row;
- "split": several blocks a row. A first launch writes a record of partial results for each part of a row; a
  second one reads the records and the row again, which it should find in the second-level cache: that limits
  the rows of a launch.

A row need not begin at a 16-byte boundary, but its packs do: the first and the last one may reach beyond the
row and are then read element by element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fastsoftmax.kernels.cuda.packs import PACK_BYTES
from fastsoftmax.kernels.cuda.runtime import MIN_THREADS, WARP

if TYPE_CHECKING:
    from fastsoftmax.kernels.cuda.packs import Format

WARP_BLOCK = 4 * MIN_THREADS  # threads of a block in which each row has at most one warp
SPLIT_LANES = 256  # threads of each part of a split row: small blocks, so that many run at a time
# Rows of a launch with split rows: half of an H100's second-level cache (50 MiB). More rows would be evicted
# before their second reading; fewer would leave multiprocessors idle. Not tuned on a GPU yet (docs/gpu.md).
CACHED_BYTES = 24 * 2**20


class Limits(NamedTuple):
    """The limits that registers set a kernel: `packs` of a thread, and `lanes`, the threads of a block.

    A block has 65,536 registers, a thread at most 255.
    """

    packs: int
    lanes: int


class Shape(NamedTuple):
    """The shape of a launch.

    `whole_block`: whether a row, or part of one, has a whole block; `packs`: held by a thread; `bits`: the
    binary logarithm of the threads of a part; `parts` of a row; `block`: threads of a block; `max_threads`:
    the largest block that the kernel is compiled for; `rows` of a launch.
    """

    whole_block: bool
    packs: int
    bits: int
    parts: int
    block: int
    max_threads: int
    rows: int

    @property
    def split(self) -> bool:
        """Whether a row takes two launches."""
        return self.parts > 1

    def blocks(self, n_rows: int) -> int:
        """Return the number of blocks for n_rows rows."""
        groups = n_rows * self.parts
        return -(-(groups << self.bits) // self.block)


def max_packs(n_classes: int, lead: int, count: int) -> int:
    """Return the largest number of packs of `count` elements that a row touches.

    `lead` is the number of elements between the last 16-byte boundary and the first row (`launch.lead_of`).
    """
    skew = lead if n_classes % count == 0 else count - 1
    return -(-(n_classes + skew) // count)


def shape_of(n_rows: int, n_classes: int, lead: int, form: Format, limits: Limits) -> Shape:
    """Return the shape of the launches for rows (n_rows, n_classes).

    Parameters
    ----------
    n_rows, n_classes : int
    lead : int
        The number of elements between the last 16-byte boundary and the first row.
    form : Format
        Of the elements in memory.
    limits : Limits
        Of the kernel.
    """
    packs = max_packs(n_classes, lead, form.per_pack)
    if packs <= limits.packs * WARP:
        packs_per_thread = 1 if packs <= WARP else limits.packs
        bits = _bits(min(packs, WARP))
        return Shape(False, packs_per_thread, bits, 1, warp_block(bits), WARP_BLOCK, n_rows)
    if packs <= limits.packs * limits.lanes:
        bits = _bits(-(-packs // limits.packs))
        return Shape(True, limits.packs, bits, 1, 1 << bits, limits.lanes, n_rows)
    parts = -(-packs // (limits.packs * SPLIT_LANES))
    rows = max(1, CACHED_BYTES * form.per_pack // (PACK_BYTES * n_classes))
    return Shape(True, limits.packs, _bits(SPLIT_LANES), parts, SPLIT_LANES, SPLIT_LANES, min(rows, n_rows))


def warp_block(bits: int) -> int:
    """Return the threads of a block with 2^bits threads a row; above WARP_BLOCK in the simulator only."""
    return max(WARP_BLOCK, 1 << bits)


def _bits(lanes: int) -> int:
    """Return ⌈log₂ lanes⌉."""
    return (lanes - 1).bit_length()
