"""Labels of blocks: the classes that a first reading finds, and the code of each label from then on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts.wording import shown
from fastsoftmax.data.blocks.block import Coded
from fastsoftmax.data.readers import text_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastsoftmax.contracts import Array, DType, Vector
    from fastsoftmax.data.blocks.block import Block, Labels

SMALL_RANGE = 2**16  # of integers that are counted by a table, not sorted
MAX_CLASSES = 2**17  # of text or numbers: more are measurements or names of rows, and take the memory of rows


class NoClassesError(ValueError):
    """Labels are numbers with fractions, such as `value`."""

    def __init__(self, value: float) -> None:
        super().__init__(f"labels are classes, not measurements such as {value}")
        self.value = value


class Learnt(NamedTuple):
    """The classes in sorted order, and the rows and the summed weights of each, (K,).

    `place` (K,) is the index in `classes` of the class that was the i-th to come up.
    """

    classes: Array
    n_rows: NDArray[np.int64]
    weight: Vector
    place: NDArray[np.int64]


class Learner:
    """The labels of the blocks so far."""

    def __init__(self) -> None:
        self._index: dict[Any, int] = {}
        self._n_rows: list[int] = []
        self._weight: list[float] = []
        self._dtypes: set[DType] = set()

    def add(self, block: Block, weight: Vector | None) -> NDArray[np.int64]:
        """Take the labels of a block, and return their codes (n,), in the order of first appearance.

        Raises
        ------
        ValueError
            A label is missing, or is no label; the file and the row are named.
        """
        assert block.y is not None
        self._dtypes.add(block.y.values.dtype if isinstance(block.y, Coded) else block.y.dtype)
        values, inverse = distinct(block.y)
        counts = np.bincount(inverse, minlength=len(values))
        weights = counts.astype(float) if weight is None else np.bincount(inverse, weight, len(values))
        codes = np.empty(len(values), np.int64)
        for j, value in enumerate(values):
            if not counts[j]:
                codes[j] = -1
                continue
            _refuse_missing(value, block, inverse, j)
            code = self._index.setdefault(value, len(self._index))
            if code == len(self._n_rows):
                row = block.first + int(np.flatnonzero(inverse == j)[0]) + 1
                self._refuse_other_kind(value, f"{block.file!r}: the label of row {row}")
                self._n_rows.append(0)
                self._weight.append(0.0)
            self._n_rows[code] += int(counts[j])
            self._weight[code] += float(weights[j])
            codes[j] = code
        return codes[inverse]

    @property
    def n_classes(self) -> int:
        """The number of labels so far."""
        return len(self._index)

    def join(self, other: Learner, file: str) -> None:
        """Take the labels that another learnt of the blocks that follow; `file` is for messages."""
        self._dtypes |= other._dtypes
        for value, n_rows, weight in zip(other._index, other._n_rows, other._weight):
            code = self._index.setdefault(value, len(self._index))
            if code == len(self._n_rows):
                self._refuse_other_kind(value, f"{file!r}: a label")
                self._n_rows.append(0)
                self._weight.append(0.0)
            self._n_rows[code] += n_rows
            self._weight[code] += weight

    def learnt(self, *, is_text: bool, has_float_labels: bool) -> Learnt:
        """Return the classes. `is_text` and `has_float_labels` are those of the files' head.

        Raises NoClassesError, a ValueError, if the labels are measurements.
        """
        values = text_labels.converted(list(self._index))[0] if is_text else self.table
        if values.dtype.kind == "f":
            if (values != np.rint(values)).any():
                odd = values[values != np.rint(values)][0]
                raise NoClassesError(float(odd))
            values = values.astype(np.int64) if has_float_labels else values
        order = np.argsort(values, kind="stable")
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return Learnt(values[order], np.array(self._n_rows)[order], np.array(self._weight)[order], place)

    @property
    def table(self) -> Array:
        """The labels in the order in which they came up, as the files have them."""
        labels = np.array(list(self._index))
        if len(self._dtypes) == 1:
            (dtype,) = self._dtypes
            if dtype.kind in "iuf" and labels.dtype.kind == dtype.kind.replace("u", "i"):
                return labels.astype(dtype.newbyteorder("="))
        return labels

    def _refuse_other_kind(self, value: Any, place: str) -> None:
        """Raise ValueError for text among numbers, and for more classes than there can be."""
        first = next(iter(self._index))
        if isinstance(value, str) != isinstance(first, str):
            raise ValueError(f"{place} is {shown(value)}, where others are {shown(first)}")
        if len(self._index) > MAX_CLASSES:
            raise ValueError(
                f"{place} is {shown(value)}, and with it there are more than {MAX_CLASSES} different ones; "
                "is it the column of the labels?"
            )


class Encoder:
    """The index of labels among known classes.

    Parameters
    ----------
    classes : ndarray (K,)
    """

    def __init__(self, classes: Array) -> None:
        self.classes = classes
        self._index = {value: j for j, value in enumerate(classes.tolist())}
        self._is_text = classes.dtype.kind in "US"
        # what a file without integers, or of text alone, calls them
        self._words = {str(value): j for value, j in self._index.items()}

    def codes(self, block: Block) -> NDArray[np.int64]:
        """Return the codes (n,) of a block's labels. Raises ValueError for one that is no class."""
        assert block.y is not None
        values, inverse = distinct(block.y)
        counts = np.bincount(inverse, minlength=len(values))
        codes = np.empty(len(values), np.int64)
        for j, value in enumerate(values):
            code = self._index.get(value)
            if code is None and isinstance(value, str):
                code = self._words.get(value.strip())
            if code is None and counts[j]:
                _refuse_missing(value, block, inverse, j)
                row = block.first + int(np.flatnonzero(inverse == j)[0]) + 1
                known = self.classes[:5].tolist()
                more = ", ..." if len(self.classes) > 5 else ""
                raise ValueError(
                    f"{block.file!r}: the label of row {row} is {shown(value)}, none of the classes "
                    f"({', '.join(map(shown, known))}{more})"
                )
            codes[j] = -1 if code is None else code
        return codes[inverse]


def distinct(y: Labels) -> tuple[list[Any], NDArray[np.integer[Any]]]:
    """Return values that cover the labels, as Python objects, and the place of each row's label in them."""
    assert y is not None
    if isinstance(y, Coded):
        # a file's dictionary may hold a value twice, or padded with blanks
        return y.values.tolist(), y.codes.astype(np.int64, copy=False)
    labels = np.ravel(y)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if labels.dtype.kind == "b":
        return [False, True], labels.astype(np.int64)
    if labels.dtype.kind in "iu" and len(labels):
        low, high = int(labels.min()), int(labels.max())
        if high - low < SMALL_RANGE:
            offsets = labels.astype(np.int64) - low
            present = np.flatnonzero(np.bincount(offsets))
            table = np.zeros(high - low + 1, np.int64)
            table[present] = np.arange(len(present))
            return (present + low).tolist(), table[offsets]
    if labels.dtype.kind == "O":
        index: dict[Any, int] = {}
        places = [index.setdefault(label, len(index)) for label in labels.tolist()]
        return list(index), np.array(places, np.int64)
    values, inverse = np.unique(labels, return_inverse=True)
    return values.tolist(), inverse.reshape(-1)


def _refuse_missing(value: Any, block: Block, inverse: Array, j: int) -> None:
    """Raise ValueError, naming the row, for a label that is missing."""
    is_missing = value is None or (isinstance(value, float) and value != value) or value == ""
    if is_missing or (isinstance(value, float) and np.isinf(value)):
        row = block.first + int(np.flatnonzero(inverse == j)[0]) + 1
        raise ValueError(f"{block.file!r}: the label of row {row} is {shown(value) if value else 'missing'}")
