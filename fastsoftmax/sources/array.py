"""Rows held in memory."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastsoftmax import compressed, devices
from fastsoftmax.contracts import Csr, Guest, Halves, Resident, RowBlock, Sums, row_slice

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Rows, Task
    from fastsoftmax.memory import Memory

T = TypeVar("T")
SEED = 0
MULTIPLIER_BYTES = 48 * 2**20


def sparse_block_rows(n_outputs: int) -> int:
    """Return how many sparse rows to take at a time: a pass over them holds their (n, K) multipliers."""
    return max(1, MULTIPLIER_BYTES // (8 * n_outputs))


def with_transpose(X: Rows) -> Rows:
    """Return sparse rows with the same entries by column beside them; dense rows as they are."""
    if not isinstance(X, Csr) or X.transpose is not None:
        return X
    return X._replace(transpose=compressed.transposed(X))


def _rows_of(X: Rows | Resident, rows: NDArray[np.int64]) -> Rows:
    """Return some rows, copied."""
    if isinstance(X, Resident):
        X = X.host
    if isinstance(X, Guest):
        device: Any = devices.get("cuda")
        guest: Rows = device.some_rows(X, rows)
        return guest
    if isinstance(X, Csr):
        return compressed.from_scipy(compressed.to_scipy(X)[rows])
    return Halves(X.bits[rows]) if isinstance(X, Halves) else X[rows]


class ArraySource:
    """Rows in memory, dense or sparse, handed to a device in one block or several.

    Parameters
    ----------
    X : ndarray (n, d), Halves, Csr or Guest
    target : ndarray (n,) or (n, K)
    weight : ndarray (n,), float64
    device : str
    n_threads : int or None
    block_rows : int, optional
        The most rows in a block; None takes them all in one.
    memory : Memory, optional
        Where passes take their arrays from.
    """

    def __init__(
        self,
        X: Rows,
        target: NDArray[Any],
        weight: NDArray[np.float64],
        *,
        device: str = "cpu",
        n_threads: int | None = None,
        block_rows: int | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._shape = int(X.shape[0]), int(X.shape[1])
        self._device = device
        self._n_threads = n_threads
        step = self._shape[0] if block_rows is None else block_rows
        place = devices.get(device).placed
        self._blocks = [
            place(
                RowBlock(
                    with_transpose(row_slice(X, start, start + step)),
                    target[start : start + step],
                    weight[start : start + step],
                    memory,
                )
            )
            for start in range(0, self._shape[0], step)
        ]

    @classmethod
    def _of_blocks(cls, blocks: list[RowBlock], like: ArraySource) -> ArraySource:
        self = cls.__new__(cls)
        self._shape = sum(block.n_rows for block in blocks), like._shape[1]
        self._device, self._n_threads = like._device, like._n_threads
        self._blocks = [devices.get(like._device).placed(block) for block in blocks]
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return self._shape

    def sum(self, task: Task) -> Sums:
        """Run the task on every block and add what comes back, in order."""
        sums = self.map(lambda block: devices.run(task, self._device, block, self._n_threads))
        return functools.reduce(Sums.__add__, sums)

    def subset(self, n_rows: int) -> ArraySource:
        """Return a source of so many of the rows, drawn at random but always the same ones; copies them."""
        if n_rows >= self._shape[0]:
            return self
        chosen = np.sort(np.random.default_rng(SEED).choice(self._shape[0], n_rows, replace=False))
        parts, first = [], 0
        for block in self._blocks:
            here = chosen[(chosen >= first) & (chosen < first + block.n_rows)] - first
            own = block.target[here], block.weight[here], block.memory
            parts.append(RowBlock(_rows_of(block.X, here), *own))
            first += block.n_rows
        return ArraySource._of_blocks(parts, self)

    def replaced(self, function: Callable[[RowBlock], RowBlock]) -> ArraySource:
        """Return a source of what a function makes of each block."""
        return ArraySource._of_blocks(self.map(function), self)

    def map(self, function: Callable[[RowBlock], T]) -> list[T]:
        """Return what a function makes of each block, in order."""
        results = []
        for block in self._blocks:
            with devices.work(block.X):
                results.append(function(block))
        return results
