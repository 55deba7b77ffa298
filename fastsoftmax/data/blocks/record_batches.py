"""Arrow's record batches, of any length, as blocks of equal numbers of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.data.blocks import block
from fastsoftmax.data.blocks.block import Block, Coded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastsoftmax.contracts import Array, DType
    from fastsoftmax.data.blocks.block import Labels

TURNED_ROWS = 8192  # of columns of numbers that are turned at a time


class Feature(NamedTuple):
    """A column of features: its name, how many features it holds, and their dtype."""

    name: str
    width: int
    dtype: DType
    is_list: bool


class Uses(NamedTuple):
    """What the columns of a file are used for."""

    features: tuple[Feature, ...]
    target: str | None
    weight: str | None

    @property
    def columns(self) -> list[str]:
        """The names of the columns that are read."""
        return [
            *(each.name for each in self.features),
            *(each for each in (self.target, self.weight) if each is not None),
        ]

    @property
    def n_features(self) -> int:
        """The number of features."""
        return sum(each.width for each in self.features)

    @property
    def dtype(self) -> DType:
        """The dtype of rows that holds the numbers of every column."""
        return block.kernel_dtype(np.result_type(*(each.dtype for each in self.features)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features; the places in a list are numbered."""
        return tuple(
            f"{each.name}[{j}]" if each.is_list else each.name
            for each in self.features
            for j in range(each.width)
        )


def feature_of(file: str, field: Any, first: Any) -> Feature:
    """Return the feature column of an Arrow field; `first` () is its first list, asked for where needed."""
    import pyarrow as pa

    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_list = pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    width = 1
    if is_list:
        width = kind.list_size if pa.types.is_fixed_size_list(kind) else len(first() or ())
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return Feature(field.name, width, np.dtype(np.uint8), is_list)
    if pa.types.is_decimal(kind):
        return Feature(field.name, width, np.dtype(np.float64), is_list)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ValueError(
            f"{file!r}: column {field.name!r} holds {'text' if 'string' in str(kind) else field.type}, not "
            "numbers; name it as target if it holds the labels, or leave it out (features=, --drop)"
        )
    return Feature(field.name, width, np.dtype(kind.to_pandas_dtype()), is_list)


def blocks_of(batches: Iterable[Any], uses: Uses, file: str, block_bytes: int) -> Iterator[Block]:
    """Yield blocks of equal numbers of rows, C-ordered copies, from batches of any length."""
    dtype, width = uses.dtype, uses.n_features
    step = block.rows_a_block(width * dtype.itemsize, block_bytes)
    first = 0  # row of the block
    out, filled = None, 0
    labels: list[Labels] = []
    weights: list[Array] = []
    for batch in batches:
        at, n_rows = 0, batch.num_rows
        if not n_rows:
            continue
        start = first + filled
        cells = [_numbers(batch.column(each.name), each, file, start) for each in uses.features]
        y = None if uses.target is None else labels_in(batch.column(uses.target), uses.target, file, start)
        w = None if uses.weight is None else _weights(batch.column(uses.weight), uses.weight, file, start)
        while at < n_rows:
            if out is None:
                out = np.empty((step, width), dtype)
            stop = min(n_rows, at + step - filled)
            _write(out[filled : filled + stop - at], [each[at:stop] for each in cells])
            if y is not None:
                labels.append(y[at:stop])
            if w is not None:
                weights.append(w[at:stop])
            filled += stop - at
            at = stop
            if filled == step:
                yield _block(out, labels, weights, file, first)
                first, filled, out, labels, weights = first + step, 0, None, [], []
    if out is not None and filled:
        yield _block(out[:filled], labels, weights, file, first)


def labels_in(column: Any, name: str, file: str, first: int) -> Array | Coded:
    """Return the labels in an Arrow column; text as codes. Raises ValueError for the first empty cell."""
    import pyarrow as pa

    _refuse_nulls(column, name, file, first)
    kind = column.type
    if pa.types.is_dictionary(kind):
        values = column.dictionary.to_numpy(zero_copy_only=False)
        codes = column.indices.to_numpy(zero_copy_only=False)
        if column.dictionary.null_count:
            missing = {j for j, value in enumerate(column.dictionary.to_pylist()) if value is None}
            bad = np.flatnonzero(np.isin(codes, list(missing)))
            if len(bad):
                _refuse_cell(name, file, first + int(bad[0]))
        return Coded(codes, values.astype(str) if values.dtype.kind == "O" else values)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or str(kind) == "string_view":
        return labels_in(column.cast(pa.large_string()).dictionary_encode(), name, file, first)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.to_numpy(zero_copy_only=False))
    raise ValueError(f"{file!r}: the label column {name!r} is {kind}; text, integers and booleans are labels")


def _block(out: Array, labels: list[Labels], weights: list[Array], file: str, first: int) -> Block:
    weight = np.concatenate(weights) if weights else None
    return Block(block.dense(out), block.joined_labels(labels), weight, file, first)


def _write(out: Array, cells: list[Array]) -> None:
    """Write columns side by side to rows."""
    if all(column.ndim == 1 and column.dtype == out.dtype for column in cells):
        # some thousand rows as columns first, then turned: a third of the time of strided writes
        for start in range(0, len(out), TURNED_ROWS):
            part = slice(start, start + TURNED_ROWS)
            out[part] = np.array([column[part] for column in cells]).T
        return
    at = 0
    for column in cells:
        width = 1 if column.ndim == 1 else column.shape[1]
        out[:, at : at + width] = column.reshape(len(out), width)
        at += width


def _numbers(column: Any, feature: Feature, file: str, first: int) -> Array:
    """Return a column of features as (n,) or (n, width)."""
    import pyarrow as pa

    _refuse_nulls(column, feature.name, file, first)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not feature.is_list:
        return _flat(column)
    if not pa.types.is_fixed_size_list(column.type):
        lengths = np.diff(column.offsets.to_numpy(zero_copy_only=False))
        other = np.flatnonzero(lengths != feature.width)
        if len(other):
            row = int(other[0])
            raise ValueError(
                f"{file!r}: column {feature.name!r} has {lengths[row]} numbers in row {first + row + 1}, and "
                f"{feature.width} in the first"
            )
    values = column.flatten()  # `.values` would ignore the slice
    if values.null_count:
        row = int(np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))[0]) // feature.width
        _refuse_cell(feature.name, file, first + row)
    return _flat(values).reshape(len(column), feature.width)


def _flat(column: Any) -> Array:
    """Return an Arrow array of numbers without nulls."""
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _weights(column: Any, name: str, file: str, first: int) -> Array:
    _refuse_nulls(column, name, file, first)
    values = _flat(column)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{file!r}: the weight column {name!r} does not hold numbers")
    return values


def _refuse_nulls(column: Any, name: str, file: str, first: int) -> None:
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        _refuse_cell(name, file, first + row)


def _refuse_cell(name: str, file: str, row: int) -> None:
    raise ValueError(f"{file!r}: column {name!r} is empty in row {row + 1}")
