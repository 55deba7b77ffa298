"""A pandas frame as a table: what the formats of columns share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.data.readers import text_labels
from fastsoftmax.data.readers.columns import choose
from fastsoftmax.data.readers.table import Table, integer_labels, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame, Series

    from fastsoftmax.contracts import Array
    from fastsoftmax.data.readers.columns import Columns
    from fastsoftmax.data.readers.request import Request


def table_of(
    source: str,
    frame: DataFrame,
    names: Sequence[str],
    request: Request,
    columns: Columns | None = None,
    *,
    named: bool = True,
    is_text: bool = False,
) -> Table:
    """Return the parts of a frame as a table, every cell checked.

    Parameters
    ----------
    source : str
        What messages call the file.
    frame : pandas.DataFrame
    names : sequence of str
        Of the columns; those of the frame are not looked at.
    request : Request
    columns : Columns, optional
        What the columns are used for, if it has been chosen already.
    named : bool, default=True
        Whether the names are the file's own.
    is_text : bool, default=False
        Whether the labels are what stood in a text file and not yet numbers.
    """
    if not len(frame):
        raise ValueError(f"{source!r} is empty: 0 rows of {len(names)} columns")
    columns = columns or choose(source, names, request, named=named)
    if not columns.features:
        raise ValueError(f"{source!r} has no column left for features; its columns: {listed(names, 8)}")
    places = [*columns.features, *(at for at in (columns.target, columns.weight) if at is not None)]
    notes = columns.notes
    if request.drop_missing:
        frame, said = _complete(frame, places)
        notes += said
        if not len(frame):
            raise ValueError(f"{source!r} is empty: every row has an empty cell")
    with_gaps = np.flatnonzero(frame.iloc[:, places].isna().any(axis=0).to_numpy())
    if len(with_gaps):
        at = places[with_gaps[0]]
        _refuse_gaps(source, names[at], frame.iloc[:, at], request)
    y = None
    if columns.target is not None:
        y, said = _labels(frame.iloc[:, columns.target], is_text, request)
        notes += said
    weight = None
    if columns.weight is not None:
        weight = _numbers(source, names[columns.weight], frame.iloc[:, columns.weight], "weight").to_numpy(
            float
        )
    ids = None if columns.ids is None else frame.iloc[:, columns.ids].fillna("").astype(str).to_numpy(str)
    return Table(
        _matrix(source, frame.iloc[:, columns.features], [names[at] for at in columns.features]),
        y,
        feature_names=tuple(names[at] for at in columns.features) if named else None,
        notes=notes,
        target=None if columns.target is None else names[columns.target] if named else str(columns.target),
        left_out=() if named else tuple(at for at in range(len(names)) if at not in columns.features),
        weight=weight,
        ids=ids,
        id_name=None if columns.ids is None else names[columns.ids],
    )


def _matrix(source: str, features: DataFrame, names: Sequence[str]) -> Array:
    """Return columns of numbers side by side, in the dtype that holds them all."""
    odd = [j for j, dtype in enumerate(features.dtypes) if getattr(dtype, "kind", "O") not in "biuf"]
    if odd:
        features = features.set_axis(range(len(names)), axis=1).copy()  # two may have one name
        for j in odd:
            features[j] = _numbers(source, names[j], features.iloc[:, j])
    kinds = {np.dtype(getattr(dtype, "numpy_dtype", dtype)) for dtype in features.dtypes}
    return features.to_numpy(dtype=np.result_type(*kinds))


def _labels(column: Series, is_text: bool, request: Request) -> tuple[Array, tuple[str, ...]]:
    """Return the labels in a column, and what is to be said about them."""
    import pandas

    as_text = request.model is not None and request.model.text_labels
    if is_text:
        codes, distinct = pandas.factorize(column)
        plain, inverse = np.unique([str(label).strip() for label in distinct], return_inverse=True)
        values, notes = text_labels.converted(plain.tolist(), as_text)
        return values[inverse[codes]], notes
    y = column.to_numpy()
    # pandas gives text as objects or as its own type: NumPy strings sort, compare and save plainly
    return (y.astype(str) if as_text or y.dtype.kind not in "biuf" else integer_labels(y)), ()


def _numbers(source: str, name: str, column: Series, use: str = "feature") -> Series:
    """Return a column of numbers, or raise ValueError that names the first cell that is none."""
    import pandas

    if getattr(column.dtype, "kind", "O") in "biuf":
        return column
    numbers = None
    if getattr(column.dtype, "kind", "O") not in "mM":
        numbers = pandas.to_numeric(column.astype(object), errors="coerce")
        bad = np.flatnonzero(numbers.isna().to_numpy())
        if not len(bad):
            return numbers
        if 2 * len(bad) < len(column):
            at = int(bad[0])
            raise ValueError(
                f"{source!r}: column {name!r} has {str(column.iloc[at])!r} in data row "
                f"{int(column.index[at]) + 1}, which is no number; {len(bad)} of its cells are not. If they "
                "stand for missing values, leave them empty"
            )
    said = f"{source!r}: {use} column {name!r} does not hold numbers (it has {str(column.iloc[0])!r})"
    if use != "feature":
        raise ValueError(said)
    raise ValueError(
        f"{said}; "
        "name it with --target if it holds the labels, leave it out with --drop, or encode it in Python: "
        f"`encode = make_column_transformer((OneHotEncoder(), [{name!r}]), remainder='passthrough')`; "
        "`make_pipeline(encode, SoftmaxRegression()).fit(frame, labels)`"
    )


def _complete(frame: DataFrame, places: Sequence[int]) -> tuple[DataFrame, tuple[str, ...]]:
    """Return the rows without a gap in the columns that are used, and how many were left out."""
    part = frame.iloc[:, list(places)]
    whole = ~part.isna().any(axis=1).to_numpy()
    n_left_out = int((~whole).sum())
    if not n_left_out:
        return frame, ()
    note = f"{n_left_out:,} of {len(frame):,} rows have empty cells and were left out (--drop-missing)"
    return frame[whole], (note,)


def _refuse_gaps(source: str, name: str, column: Series, request: Request) -> None:
    """Raise ValueError if a column has empty cells."""
    gaps = np.flatnonzero(column.isna().to_numpy())
    if len(gaps):
        advice = "; --drop-missing leaves such rows out" + ("" if request.labelled else " (with --id)")
        raise ValueError(
            f"{source!r}: column {name!r} has {len(gaps)} empty cells, the first in data row "
            f"{int(column.index[gaps[0]]) + 1}{advice}"
        )
