"""Rows of the host for which a device has no room, brought there piece by piece while it works."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


class Ferry:
    """Two pinned buffers of the host, two of the device, and a stream of its own for the copies between them.

    A piece goes from the rows into a pinned buffer (the host's work), from there to the device (the copy
    stream's), and is worked on (the caller's stream). All three go on at once, on different pieces. What
    keeps them apart are two events for each pair of buffers:

    - `copied`: the host waits for it before it fills the pinned buffer again, and the caller's stream before
      it works on the device's;
    - `worked`: the copy stream waits for it before it overwrites the device's buffer.

    One reader at a time. A reader after the first may work on another stream: the events outlive it.

    Parameters
    ----------
    n_bytes : int
        Of the largest piece.
    transfers : Transfers
        Streams, events and memory: `fastsoftmax.kernels.cuda.runtime.transfers`.
    """

    def __init__(self, n_bytes: int, transfers: Any) -> None:
        self.n_bytes = n_bytes
        self._transfers = transfers
        self._pinned = [transfers.pinned(n_bytes) for _ in range(2)]
        self._rooms = [transfers.room(n_bytes) for _ in range(2)]
        self._copies = transfers.stream()
        self._copied = [transfers.event() for _ in range(2)]
        self._worked = [transfers.event() for _ in range(2)]
        # The device's memory may be in use by what the current stream has yet to do.
        for event in self._worked:
            event.record(transfers.current())

    def over(self, rows: NDArray[Any], pieces: Sequence[slice]) -> Iterator[tuple[slice, Any]]:
        """Yield each slice of the rows, and these on the device, C-ordered.

        They may be used in the current stream until the next ones are asked for. No host waits for work on
        the device, but for copies two pieces back.
        """
        stream = self._transfers.current()
        try:
            on_the_way = self._sent(rows, pieces[0], 0) if pieces else None
            for i, piece in enumerate(pieces):
                here, side = on_the_way, i % 2
                if i + 1 < len(pieces):
                    on_the_way = self._sent(rows, pieces[i + 1], 1 - side)
                stream.wait_event(self._copied[side])
                yield piece, here
                self._worked[side].record(stream)
        except BaseException:
            # The reader gave up. Nobody may have the buffers before the copies into them have ended.
            self._copies.synchronize()
            raise

    def _sent(self, rows: NDArray[Any], piece: slice, side: int) -> Any:
        """Set a piece on its way through one of the pairs of buffers, and return where it will be."""
        source = rows[piece]
        n_bytes = math.prod(source.shape) * source.itemsize
        self._copied[side].synchronize()
        np.copyto(self._pinned[side][:n_bytes].view(source.dtype).reshape(source.shape), source)
        self._copies.wait_event(self._worked[side])
        self._transfers.copy(self._pinned[side], self._rooms[side], n_bytes, self._copies)
        self._copied[side].record(self._copies)
        return self._rooms[side][:n_bytes].view(source.dtype).reshape(source.shape)
