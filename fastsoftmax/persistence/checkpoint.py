"""Checkpoint files: the state of a long fit, from which it continues after a kill, to the same bits.

The solver defines its state (`contracts.protocols.Checkpoint`); here it is written to a file in the format of
model files: arrays and a JSON header, whole or not at all, nothing executable. The header has digests of all
that the fit depends on (`fastsoftmax.estimator.checkpointing`), so that no other fit continues from it.
"""

from __future__ import annotations

import glob
import hashlib
import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import State
from fastsoftmax.persistence import container

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from fastsoftmax.contracts import Array

logger = logging.getLogger(__name__)

SECONDS = 10.0  # between writes: the most work that a kill loses, if writing is fast
TIME_FRACTION = 0.05  # of a fit's time, at most, is spent on writing: slow writes are less frequent
CHUNK_BYTES = 2**22  # of an array copied at a time for its digest: memory that does not grow with the array


class FitCheckpoint:
    """The checkpoint file of one fit.

    Parameters
    ----------
    path : str or path-like
        Its folder must exist. One fit at a time may use it.
    problem : mapping of str to str
        The identity of the fit, by names that messages show. A file with another one is refused.
    kernels : str
        What computes. A file of another one is gone on with, and the log says that last bits may differ.

    Raises
    ------
    ValueError
        If there is a file that is damaged, is not a checkpoint, or is that of another fit.
    OSError
        If there is no such folder, or it cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], problem: Mapping[str, str], kernels: str = "") -> None:
        self._path = container.check_writable(path)
        self._problem = dict(problem)
        self._kernels = kernels
        self._state = self._read() if self._path.exists() else None
        self._remove_parts()
        self._next = time.perf_counter() + SECONDS

    def state(self) -> State | None:
        """Return the state in the file, at the first call only: the solver overwrites its arrays."""
        state, self._state = self._state, None
        return state

    def offer(self, state: Callable[[], State]) -> None:
        """Write state() to the file, if it is time to."""
        start = time.perf_counter()
        if start < self._next:
            return
        numbers, arrays = state()
        header = {"problem": self._problem, "state": numbers, "kernels": self._kernels}
        container.save(self._path, arrays, header)
        end = time.perf_counter()
        self._next = end + max(SECONDS, (end - start) / TIME_FRACTION)

    def remove(self) -> None:
        """Delete the file: the fit has come to its end."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> State:
        """Return the state in the file; ValueError unless it is a checkpoint of this fit."""
        name = str(self._path)
        arrays, header = container.load(self._path)
        if not {"problem", "state"} <= header.keys():
            raise ValueError(f"{name!r} is a model file, not a checkpoint; give checkpoint another path")
        stored = header["problem"]
        differing = [key for key in self._problem if stored.get(key) != self._problem[key]]
        if differing:
            raise ValueError(
                f"checkpoint {name!r} is of another fit: it had other {', '.join(differing)}. Give the same "
                "data and parameters to go on with it, or delete the file to begin"
            )
        kernels = header.get("kernels", self._kernels)  # files of older versions say nothing
        if kernels != self._kernels:
            logger.warning(
                "fastsoftmax: checkpoint %r was written by other kernels (%s) than go on with it (%s): last "
                "bits may differ from those of a fit that was not stopped", name, kernels, self._kernels,
            )  # fmt: skip
        return State(header["state"], arrays)

    def _remove_parts(self) -> None:
        """Delete the temporary files of processes that were killed while writing."""
        for part in self._path.parent.glob(f".{glob.escape(self._path.name[:100])}.????????.tmp"):
            part.unlink(missing_ok=True)


def digest(*arrays: Any, note: str = "", to_host: Callable[[Any], Array] = np.asarray) -> str:
    """Return the SHA-256 of a note and of arrays: dtype, shape, strides and elements.

    Parameters
    ----------
    *arrays : ndarray, or array of another library with its attributes
        Of any memory order. `CHUNK_BYTES` are copied at a time.
    note : str
        Further text of the digest.
    to_host : callable
        A function from a slice of an array to a NumPy array.
    """
    state = hashlib.sha256(note.encode())
    for array in arrays:
        state.update(f"{array.dtype.str} {array.shape} {array.strides}\n".encode())
        oriented = array.T if array.flags.f_contiguous else array
        step = max(1, CHUNK_BYTES // max(1, oriented[:1].nbytes))
        for first in range(0, len(oriented), step):
            state.update(np.ascontiguousarray(to_host(oriented[first : first + step])).tobytes())
    return state.hexdigest()
