"""NumPy arrays on disk: X in one .npy file, labels and weights beside it or in its columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data.blocks import arrays, block
from fastsoftmax.data.blocks.block import Block, Head
from fastsoftmax.data.blocks.columns import TableFile
from fastsoftmax.data.readers.table import column_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Array


@dataclass(frozen=True)
class NpyBlocks(TableFile):
    """The rows of an .npy file, an array (n, columns).

    Labels and weights may also be in another .npy file (n,), whose name `target` or `weight` is; labels
    there may be a matrix (n, K). Columns have no names.
    """

    @property
    def files(self) -> tuple[str, ...]:
        """The array file, and those beside it."""
        return (self.path, *(str(each) for each in (self.target, self.weight) if _is_file(each)))

    def head(self) -> Head:
        """Return what the arrays' headers say."""
        X = arrays.mapped_file(self.path)
        shape, dtype = X.head.shape, X.head.dtype
        if len(shape) != 2:
            raise ValueError(f"{self.path!r} holds an array of shape {shape}, not rows (n, d)")
        if dtype.kind not in "biuf":
            raise ValueError(f"{self.path!r} holds {dtype}, not numbers")
        for name, each in (("labels", self.target), ("weights", self.weight)):
            if _is_file(each):
                beside = arrays.mapped_file(str(each)).head.shape
                if beside[0] != shape[0]:
                    raise ValueError(
                        f"{each!r} has {beside[0]} {name} for the {shape[0]} rows of {self.path!r}"
                    )
        return Head(
            shape[0],
            len(self._places(shape[1])),
            block.kernel_dtype(dtype),
            is_sparse=False,
            n_bytes=X.head.n_bytes,
            has_labels=self.target is not None,
            has_float_labels=self.target is not None and not _is_file(self.target),
        )

    def column_names(self) -> list[str]:
        """Return the indices of the columns, as text."""
        shape = arrays.mapped_file(self.path).head.shape
        return [str(j) for j in range(shape[1] if len(shape) == 2 else 0)]

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield mapped ranges of rows."""
        X = arrays.mapped_file(self.path)
        n_rows, width = X.head.shape
        places = self._places(width)
        first = places[0] if places else 0
        side_by_side = places == list(range(first, first + len(places)))
        beside = {
            name: arrays.mapped_file(str(each)) for name, each in self._uses().items() if _is_file(each)
        }
        columns = {
            name: column_index(self.path, [str(j) for j in range(width)], str(each), by_name=False)
            for name, each in self._uses().items()
            if each is not None and not _is_file(each)
        }
        step = block.rows_a_block(X.head.row_bytes, block_bytes)
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            rows = X.rows(start, stop)
            found: dict[str, Array] = {name: each.rows(start, stop) for name, each in beside.items()}
            found |= {name: np.array(rows[:, at]) for name, at in columns.items()}
            chosen = rows[:, first : first + len(places)] if side_by_side else rows[:, places]
            yield Block(block.dense(chosen), found.get("target"), found.get("weight"), self.path, start)

    def _uses(self) -> dict[str, str | int | None]:
        return {"target": self.target, "weight": self.weight}

    def _places(self, width: int) -> list[int]:
        """Return the columns that are features."""
        names = [str(j) for j in range(width)]
        if self.features:
            return [column_index(self.path, names, str(each), by_name=False) for each in self.features]
        others = {
            column_index(self.path, names, str(each), by_name=False)
            for each in (self.target, self.weight)
            if each is not None and not _is_file(each)
        }
        return [j for j in range(width) if j not in others]


def _is_file(each: str | int | None) -> bool:
    return isinstance(each, str) and each.lower().endswith(".npy")
