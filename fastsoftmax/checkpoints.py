"""The state of a long fit in a file, so that after a kill the same fit goes on, to the same bits.

A solver says what its state is and takes it back (`protocols.Checkpoint`); here it becomes a file, in the
format of model files: numbers and a JSON header, written whole or not at all, nothing executable. With it go
digests of all that the fit depends on, and no other fit goes on from it.
"""

from __future__ import annotations

import glob
import hashlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import __version__, devices, model_file
from fastsoftmax.contracts import Csr, Guest, Halves, State

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Rows, Vector
    from fastsoftmax.labels import Labels
    from fastsoftmax.parameters import Settings

SECONDS = 10.0  # from one writing to the next
SHARE = 0.05  # of the time may go into writing: where that is slow, it is done less often
CHUNK_BYTES = 2**22  # of X, copied at a time where it is not contiguous


class FitCheckpoint:
    """The file of one fit.

    Parameters
    ----------
    path : str or path-like
        Its folder must exist. One fit at a time may use it.
    problem : mapping of str to str
        What the fit depends on, as `problem_of` gives it.

    Raises
    ------
    ValueError
        If there is a file that is damaged, is no checkpoint, or is one of another fit.
    OSError
        If there is no such folder, or it cannot be written to.
    """

    def __init__(self, path: str | os.PathLike[str], problem: Mapping[str, str]) -> None:
        self._path = model_file.check_writable(path)
        self._problem = dict(problem)
        self._state = self._read() if self._path.exists() else None
        self._remove_parts()
        self._next = time.perf_counter() + SECONDS

    def state(self) -> State | None:
        """Return what the file held; once, as the solver takes the arrays for its own."""
        state, self._state = self._state, None
        return state

    def offer(self, state: Callable[[], State]) -> None:
        """Write the state, if it is time to."""
        start = time.perf_counter()
        if start < self._next:
            return
        numbers, arrays = state()
        model_file.save(self._path, arrays, {"problem": self._problem, "state": numbers})
        end = time.perf_counter()
        self._next = end + max(SECONDS, (end - start) / SHARE)

    def remove(self) -> None:
        """Delete the file: the fit has come to its end."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> State:
        name = str(self._path)
        arrays, header = model_file.load(self._path)
        if not {"problem", "state"} <= header.keys():
            raise ValueError(f"{name!r} is a model file, not a checkpoint; give checkpoint another path")
        kept = header["problem"]
        differing = [key for key in self._problem if kept.get(key) != self._problem[key]]
        if differing:
            raise ValueError(
                f"checkpoint {name!r} is of another fit: it had other {', '.join(differing)}. Give the same "
                "data and parameters to go on with it, or delete the file to begin"
            )
        return State(header["state"], arrays)

    def _remove_parts(self) -> None:
        """Delete what processes that were killed while writing have left."""
        for part in self._path.parent.glob(f".{glob.escape(self._path.name[:100])}.????????.tmp"):
            part.unlink(missing_ok=True)


def problem_of(
    model: Any,
    settings: Settings,
    device: str,
    rows: Rows,
    labels: Labels,
    weight: NDArray[np.float64],
    start: Vector,
) -> dict[str, str]:
    """Return all that the bits of a fit depend on: digests of arrays, and the values of parameters.

    Reads X once, at some 0.5 to 2 GB/s. How X lies in memory counts, as the order of sums may follow it. The
    number of threads does not.
    """
    parameters = {**settings._asdict(), "tol": model.tol, "max_iter": model.max_iter, "device": device}
    return {
        **{name: repr(value) for name, value in parameters.items()},
        "fit_intercept": repr(bool(model.fit_intercept)),
        "X": _digest(*rows[:3]) if isinstance(rows, Csr) else _digest(_plain(rows), brought=_brought(rows)),
        "y": _digest(labels.target, note=f"{labels.loss} {labels.classes.tolist()}"),
        "weights (sample_weight or class_weight)": _digest(weight),
        "starting point (warm_start)": _digest(start),
        "version of fastsoftmax": __version__,
    }


def _plain(rows: NDArray[Any] | Halves | Guest) -> Any:
    if isinstance(rows, Guest):
        return rows.array
    return rows.bits.view(np.float16) if isinstance(rows, Halves) else rows


def _brought(rows: Rows) -> Callable[[Any], NDArray[Any]]:
    """Return what brings a part of the rows to the host."""
    if not isinstance(rows, Guest):
        return np.asarray
    device: Any = devices.get("cuda")
    return lambda part: device.fetched(rows._replace(array=part, brain=False))


def _digest(*arrays: Any, note: str = "", brought: Callable[[Any], NDArray[Any]] = np.asarray) -> str:
    """Return the SHA-256 of a note and of arrays: dtype, shape, strides and elements."""
    digest = hashlib.sha256(note.encode())
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape} {array.strides}\n".encode())
        turned = array.T if array.flags.f_contiguous else array
        step = max(1, CHUNK_BYTES // max(1, turned[:1].nbytes))
        for first in range(0, len(turned), step):
            digest.update(np.ascontiguousarray(brought(turned[first : first + step])).tobytes())
    return digest.hexdigest()
