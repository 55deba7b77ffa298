"""Arrays that arrive from other processes, moved to where kernels can read them.

The first array of a message that a Dask worker receives begins at an odd address
(findings/dask_arrays_arrive_unaligned.sh). Kernels for such arrays would be compiled on every worker, and
compiled libraries have none.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.runtime.buffers import BufferPool

ALIGNMENT = 16  # bytes: of any array that NumPy makes

_buffers = BufferPool()  # of this process


def aligned(value: Any) -> Any:
    """Return a value with its unaligned arrays copied: in tuples, lists, named tuples and dataclasses.

    Examples
    --------
    >>> odd = np.zeros(17, np.uint8)[1:].view(np.float64)
    >>> aligned((odd, 1))[0].flags.aligned
    True
    """
    if isinstance(value, np.ndarray):
        if value.flags.aligned or value.dtype.hasobject:
            return value
        return _moved(value) if value.flags.c_contiguous else value.copy(order="K")
    if isinstance(value, list):
        return [aligned(each) for each in value]
    if isinstance(value, tuple):
        fields = [aligned(each) for each in value]
        if all(new is old for new, old in zip(fields, value)):
            return value
        return tuple(fields) if type(value) is tuple else type(value)(*fields)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        moved = {name: aligned(each) for name, each in named.items()}
        changed = {name: each for name, each in moved.items() if each is not named[name]}
        return dataclasses.replace(value, **changed) if changed else value
    return value


def arrived(kind: type, fields: tuple[Any, ...]) -> Any:
    """Return kind(*fields) with aligned arrays: what unpickles a class whose `__reduce__` names it."""
    return kind(*map(aligned, fields))


class Parcel(NamedTuple):
    """Anything that goes to other processes; its arrays are aligned once, when it arrives."""

    value: Any

    def __reduce__(self) -> Any:
        return arrived, (Parcel, tuple(self))


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A pickled value, for a way over others: a scheduler passes its arrays on as they came, without a copy.

    Tasks of one graph that have it as an argument share it on the way; it is no tuple, which Dask would take
    apart.
    """

    header: bytes
    buffers: list[np.ndarray[Any, Any]]

    @classmethod
    def of(cls, value: Any) -> Packed:
        """Return a value packed."""
        from distributed.protocol import pickle  # what plain pickle refuses, too; there is a client

        buffers: list[Any] = []
        header = pickle.dumps(value, buffer_callback=buffers.append)
        return cls(header, [np.frombuffer(each.raw(), np.uint8) for each in buffers])

    def __dask_tokenize__(self) -> int:
        """Return what tells it from others in one graph: Dask would hash all its numbers."""
        return id(self)

    @property
    def n_bytes(self) -> int:
        """Its size."""
        return len(self.header) + sum(each.nbytes for each in self.buffers)

    def value(self) -> Any:
        """Return the value, its arrays where kernels can read them."""
        from distributed.protocol import pickle

        there = [each if each.ctypes.data % ALIGNMENT == 0 else _moved(each) for each in self.buffers]
        return pickle.loads(self.header, buffers=there)


def _moved(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a copy in memory that the parameters of an earlier reading have had, if there is any."""
    copied = _buffers.array(array.shape, array.dtype)
    copied[...] = array
    return copied
