"""Rows whose labels are known, and how many of them a model labels right."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from fastsoftmax.cli.accuracy import measure, measure_blocks, measure_rows

if TYPE_CHECKING:
    from fastsoftmax.cli.accuracy import Measured
    from fastsoftmax.contracts import Array
    from fastsoftmax.data.blocks.row_set import RowSet
    from fastsoftmax.data.readers import Features
    from fastsoftmax.estimator import SoftmaxRegression


class Reached(NamedTuple):
    """What a model makes of rows, and whether they are a sample of those meant."""

    measured: Measured
    is_sample: bool = False

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self.measured.n_rows

    @property
    def accuracy(self) -> float:
        """The part of them that is labelled right."""
        return self.measured.right / max(1, self.n_rows)


class Part(Protocol):
    """Rows to test a model on."""

    def reached(self, model: SoftmaxRegression) -> Reached:
        """Return what the model makes of the rows."""


class ArraysPart(NamedTuple):
    """Arrays."""

    X: Features
    y: Array

    def reached(self, model: SoftmaxRegression) -> Reached:
        """Return what the model makes of the rows."""
        return Reached(measure(model, self.X, self.y))


class RowsPart(NamedTuple):
    """Rows that are read by blocks, once. `weighted` leaves out those whose weight is zero: not held out."""

    rows: RowSet
    weighted: bool = False

    def reached(self, model: SoftmaxRegression) -> Reached:
        """Return what the model makes of the rows."""
        found = measure_rows(model, self.rows, weighted=self.weighted)
        if not found.n_rows:
            raise ValueError("there are no rows to test on")
        return Reached(found)


class FittedPart(NamedTuple):
    """The rows of a fit that are in memory: all of them, or the sample that it has kept. No reading."""

    rows: RowSet

    def reached(self, model: SoftmaxRegression) -> Reached:
        """Return what the model makes of the rows."""
        from fastsoftmax.estimator import streamed_prediction

        look = self.rows.look()
        blocks = look.kept or [look.sample.as_block()]
        plain = streamed_prediction.without_names(model, self.rows)
        found = measure_blocks(plain, iter(blocks), weighted=True)
        return Reached(found, is_sample=look.kept is None)
