"""A source that counts its readings, shared by all parts of an objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from fastsoftmax.contracts import Loss
    from fastsoftmax.contracts.protocols import Addable, Query, Source, SourceSpec

    Answer = TypeVar("Answer", bound=Addable)


class CountedSource:
    """A source and the number of readings of its rows so far.

    Parameters
    ----------
    source : Source
    passes : int
        The number of readings to count from.
    """

    def __init__(self, source: Source, passes: int = 0) -> None:
        self.source = source
        self.passes = passes

    @property
    def spec(self) -> SourceSpec:
        """The description of the rows."""
        return self.source.spec

    def sum(self, query: Query[Answer], *, readings: int = 1, rows: Source | None = None) -> Answer:
        """Return the answer for all rows, or for the sample `rows`, and count `readings` of X.

        A sample counts as much where the rows are in memory, and nothing where reading them is dear.
        """
        if rows is None or rows is self.source or not self.spec.is_dear:
            self.passes += readings
        return (self.source if rows is None else rows).sum(query)

    def in_float64(self, loss: Loss) -> CountedSource:
        """Return the rows with float64 targets and the loss for them; the count continues from this one."""
        return CountedSource(self.source.in_float64(loss), self.passes)
