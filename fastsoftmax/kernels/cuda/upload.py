"""Upload of host rows that do not fit the device's memory, piece by piece, overlapped with its work."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastsoftmax.contracts import Array
    from fastsoftmax.kernels.cuda.runtime import DeviceNumbers, Transfers


class Uploader:
    """Double buffering: two pinned host buffers, two device buffers, and a stream for copies between them.

    A piece is copied from the rows into a pinned buffer (by the host), from there to the device (on the copy
    stream), and is then computed on (on the caller's stream). All three overlap, on different pieces, and are
    synchronised by two events for each pair of buffers:

    - `copied`: the host waits for it before it fills the pinned buffer again, and the caller's stream before
    it
      reads the device buffer;
    - `worked`: the copy stream waits for it before it overwrites the device buffer.

    One reader at a time. A later reader may use another stream: the events outlive it.

    Parameters
    ----------
    n_bytes : int
        Size of the largest piece.
    transfers : Transfers
        Streams, events and memory: `fastsoftmax.kernels.cuda.runtime.transfers`.
    """

    def __init__(self, n_bytes: int, transfers: Transfers) -> None:
        self.n_bytes = n_bytes
        self._transfers = transfers
        self._pinned = [transfers.pinned(n_bytes) for _ in range(2)]
        self._device_buffers = [transfers.device_buffer(n_bytes) for _ in range(2)]
        self._copies = transfers.stream()
        self._copied = [transfers.event() for _ in range(2)]
        self._worked = [transfers.event() for _ in range(2)]
        # The device memory may still be in use by work queued on the current stream.
        for event in self._worked:
            event.record(transfers.current())

    def over(self, rows: Array, pieces: Sequence[slice]) -> Iterator[tuple[slice, DeviceNumbers]]:
        """Yield each slice and its rows on the device, C-ordered.

        They may be used on the current stream until the next iteration. The host waits only for copies two
        pieces back, not for computations.
        """
        stream = self._transfers.current()
        try:
            in_flight = self._sent(rows, pieces[0], 0) if pieces else None
            for i, piece in enumerate(pieces):
                device_rows, side = in_flight, i % 2
                if i + 1 < len(pieces):
                    in_flight = self._sent(rows, pieces[i + 1], 1 - side)
                stream.wait_event(self._copied[side])
                yield piece, device_rows
                self._worked[side].record(stream)
        except BaseException:
            # The reader stopped early. The buffers must not be freed before the copies into them have ended.
            self._copies.synchronize()
            raise

    def _sent(self, rows: Array, piece: slice, side: int) -> DeviceNumbers:
        """Queue the upload of a piece through a pair of buffers; return its array on the device."""
        source = rows[piece]
        n_bytes = math.prod(source.shape) * source.itemsize
        self._copied[side].synchronize()
        np.copyto(self._pinned[side][:n_bytes].view(source.dtype).reshape(source.shape), source)
        self._copies.wait_event(self._worked[side])
        self._transfers.copy(self._pinned[side], self._device_buffers[side], n_bytes, self._copies)
        self._copied[side].record(self._copies)
        return self._device_buffers[side][:n_bytes].view(source.dtype).reshape(source.shape)
