"""Which threads take which part of which row.

Three shapes serve K from 2 to 262,144, and all of them hold what they read in registers:

- "warp": up to 32 threads a row, several rows a block;
- "block": one block a row;
- "split": several blocks a row. A first launch leaves what every part of a row comes to, a second one reads
  those few numbers and the row again. It is to find the row in the second-level cache: so many rows at a
  time.

A row need not begin at a multiple of 16 bytes. Its packs do: the first and the last one may reach beyond it
and are then read element by element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fastsoftmax.kernels.cuda.packs import PACK_BYTES
from fastsoftmax.kernels.cuda.runtime import LEAST_THREADS, WARP

if TYPE_CHECKING:
    from fastsoftmax.kernels.cuda.packs import Format

WARP_BLOCK = 4 * LEAST_THREADS  # threads of a block whose warps have rows of their own
SPLIT_LANES = 256
CACHED_BYTES = 24 * 2**20  # half of an H100's second-level cache


class Room(NamedTuple):
    """What a kernel's registers suffice for: `packs` of a thread, and `lanes`, the threads of a block.

    A block has 65,536 registers, and a thread 255.
    """

    packs: int
    lanes: int


class Shape(NamedTuple):
    """How rows are handed out.

    `whole_block` whether a row's threads are a block; `packs` that a thread holds; `bits` the logarithm of
    the threads of a part of a row; `parts` of a row; `block` threads of a block, and the most that the kernel
    is compiled for; `rows` of a launch.
    """

    whole_block: bool
    packs: int
    bits: int
    parts: int
    block: int
    most_threads: int
    rows: int

    @property
    def split(self) -> bool:
        """Whether a row takes two launches."""
        return self.parts > 1

    def blocks(self, n_rows: int) -> int:
        """Return how many blocks so many rows take."""
        groups = n_rows * self.parts
        return -(-(groups << self.bits) // self.block)


def most_packs(n_classes: int, lead: int, count: int) -> int:
    """Return how many packs of `count` elements a row touches at most.

    `lead` is how many elements past a multiple of 16 bytes the first row begins.
    """
    skew = lead if n_classes % count == 0 else count - 1
    return -(-(n_classes + skew) // count)


def shape_of(n_rows: int, n_classes: int, lead: int, form: Format, room: Room) -> Shape:
    """Return the shape for rows of so many classes.

    Parameters
    ----------
    n_rows, n_classes : int
    lead : int
        How many elements past a multiple of 16 bytes the first row begins.
    form : Format
        Of the elements in memory.
    room : Room
        Of the kernel.
    """
    packs = most_packs(n_classes, lead, form.per_pack)
    if packs <= room.packs * WARP:
        held = 1 if packs <= WARP else room.packs
        bits = _bits(min(packs, WARP))
        return Shape(False, held, bits, 1, warp_block(bits), WARP_BLOCK, n_rows)
    if packs <= room.packs * room.lanes:
        bits = _bits(-(-packs // room.packs))
        return Shape(True, room.packs, bits, 1, 1 << bits, room.lanes, n_rows)
    parts = -(-packs // (room.packs * SPLIT_LANES))
    rows = max(1, CACHED_BYTES * form.per_pack // (PACK_BYTES * n_classes))
    return Shape(True, room.packs, _bits(SPLIT_LANES), parts, SPLIT_LANES, SPLIT_LANES, min(rows, n_rows))


def warp_block(bits: int) -> int:
    """Return the threads of a block whose rows are shared by 2^bits threads; more only in the simulator."""
    return max(WARP_BLOCK, 1 << bits)


def _bits(lanes: int) -> int:
    """Return the logarithm of the least power of two that is no less."""
    return (lanes - 1).bit_length()
