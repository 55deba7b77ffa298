"""What the readers of tables share: the file, and which of its columns are labels, weights and features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastsoftmax.data.readers.table import column_index, listed

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class TableFile:
    """A file of columns.

    Parameters
    ----------
    path : str
    target, weight : str or int, optional
        The columns of labels and of row weights, by name or by index.
    features : tuple of str or int
        The columns that are features, in this order; all others where it is empty.
    """

    path: str
    target: str | int | None = None
    weight: str | int | None = None
    features: tuple[str | int, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The file."""
        return (self.path,)

    def chosen(self, names: Sequence[str]) -> tuple[list[str], str | None, str | None]:
        """Return the names of the columns of features, of the labels and of the weights.

        Raises ValueError, naming the file, if one is not there, or none is left for features.
        """
        double = next((name for name in names if list(names).count(name) > 1), None)
        if double is not None:
            raise ValueError(f"{self.path!r} has two columns {double!r}")

        def name_of(column: str | int) -> str:
            return names[column_index(self.path, names, str(column), by_name=isinstance(column, str))]

        label = None if self.target is None else name_of(self.target)
        weighs = None if self.weight is None else name_of(self.weight)
        wanted = [name_of(each) for each in self.features]
        wanted = wanted or [name for name in names if name not in (label, weighs)]
        if not wanted:
            raise ValueError(
                f"{self.path!r} has no column left for features; its columns: {listed(names, 8)}"
            )
        return wanted, label, weighs
