"""Rows whose labels are known, and how many of them a model labels right."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from fastsoftmax.cli.accuracy import measure, measure_blocks, measure_rows

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array
    from fastsoftmax.data.blocks.row_set import RowSet
    from fastsoftmax.data.readers import Features
    from fastsoftmax.estimator import SoftmaxRegression


class Reached(NamedTuple):
    """An accuracy, the number of rows that tell it, and whether they are a sample of those meant."""

    accuracy: float
    n_rows: int
    is_sample: bool = False


class Part(Protocol):
    """Rows to test a model on."""

    def reached(self, model: SoftmaxRegression) -> Reached:
        """Return the model's accuracy."""


class ArraysPart(NamedTuple):
    """Arrays."""

    X: Features
    y: Array

    def reached(self, model: SoftmaxRegression) -> Reached:
        """Return the model's accuracy."""
        return Reached(measure(model, self.X, self.y)[0] / len(self.y), len(self.y))


class RowsPart(NamedTuple):
    """Rows that are read by blocks, once. `weighted` leaves out those whose weight is zero: not held out."""

    rows: RowSet
    weighted: bool = False

    def reached(self, model: SoftmaxRegression) -> Reached:
        """Return the model's accuracy."""
        n_rows, right, _ = measure_rows(model, self.rows, weighted=self.weighted)
        if not n_rows:
            raise ValueError("there are no rows to test on")
        return Reached(right / n_rows, n_rows)


class FittedPart(NamedTuple):
    """The rows of a fit that are in memory: all of them, or the sample that it has kept. No reading."""

    rows: RowSet

    def reached(self, model: SoftmaxRegression) -> Reached:
        """Return the model's accuracy."""
        from fastsoftmax.estimator import streamed_prediction

        look = self.rows.look()
        blocks = look.kept or [look.sample.as_block()]
        plain = streamed_prediction.without_names(model, self.rows)
        n_rows, right, _ = measure_blocks(plain, iter(blocks), weighted=True)
        return Reached(right / max(1, n_rows), n_rows, is_sample=look.kept is None)
