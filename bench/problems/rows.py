"""Problems of the row kernels: random logits, with class indices or labels as targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.problems.arrays import RowData
from bench.problems.descriptions import SEED, Problem, computed


@dataclass(frozen=True)
class Rows(Problem):
    """Random logits: what the row kernels are given."""

    n_rows: int = 0
    n_classes: int = 0

    def make(self) -> RowData:
        """Draw logits with the spread of a trained model's (a standard deviation of 4)."""
        rng = np.random.default_rng(SEED)
        logits = rng.standard_normal((self.n_rows, self.n_classes), dtype=computed(self.dtype))
        logits *= 4
        logits = logits.astype(self.dtype, copy=False)
        return RowData(logits, rng.integers(self.n_classes, size=self.n_rows), np.empty_like(logits))


@dataclass(frozen=True)
class Columns(Rows):
    """The same logits, each column of which is summed."""

    def make(self) -> RowData:
        """Draw logits; only the axis differs."""
        return super().make()._replace(axis=0)


@dataclass(frozen=True)
class LabelledRows(Rows):
    """The same logits, with labels that do not exclude each other."""

    def make(self) -> RowData:
        """Draw logits, and labels of which a tenth is on, in the precision that is computed with."""
        data = super().make()
        labels = np.random.default_rng(SEED + 1).random(data.logits.shape, "float32") < 0.1
        return data._replace(target=labels.astype(computed(self.dtype)))
