"""Predictions for rows that are not in memory: block by block, or written to an array or a file."""

from __future__ import annotations

import copy
import functools
import itertools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Halves
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import dask
from fastsoftmax.data.blocks.labels import Encoder
from fastsoftmax.data.blocks.remote import Remote
from fastsoftmax.data.blocks.row_set import RowSet, as_array
from fastsoftmax.data.readers.table import check_finite, listed
from fastsoftmax.estimator import dask_prediction
from fastsoftmax.runtime.read_ahead import read_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastsoftmax.contracts import Array
    from fastsoftmax.data.blocks.block import Block

SUFFIXES = (".npy", ".parquet", ".csv")


def over_rows(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method of X (n, d) that returns an array with n rows take rows elsewhere, too.

    For a `RowSet` it returns an iterator of the results of its blocks, in order; with the keyword `out`, an
    array or the name of a file (.npy, .parquet, .csv), these are written there, and `out` is returned. For
    collections of Dask it returns lazy ones.
    """

    @functools.wraps(method)
    def predict(self: Any, X: Any, *arguments: Any, out: Any = None, **options: Any) -> Any:
        if isinstance(X, RowSet):
            self._check_is_fitted()
            results = _results(self, X, functools.partial(method, **options), arguments)
            return results if out is None else written(results, out, X, self)
        if dask.is_dask(X):
            self._check_is_fitted()
            if out is not None:
                raise ValueError("out= is for arrays and rows of open_rows; Dask stores what this returns")
            return dask_prediction.lazy(functools.partial(method, **options), self, X, arguments)
        result = method(self, X, *arguments, **options)
        return result if out is None else written(iter([result]), out, None, self)

    return predict


def score(model: Any, rows: RowSet) -> float:
    """Return the weighted mean accuracy on rows with labels. One reading.

    Raises ValueError, naming file and row, for a label that is none of the model's classes.
    """
    model._check_is_fitted()
    if not rows.head.has_labels:
        raise ValueError("the rows have no labels: give target= to open_rows, or (X, y) in rows_from")
    plain = _without_names(model, rows)
    encoder = None
    if not model._multilabel:
        encoder = Encoder(model.classes_)
        plain.classes_ = np.arange(len(model.classes_))
    right = total = 0.0
    if isinstance(rows.supply, Remote):
        plain.n_threads = plain.n_threads or 1
        there = rows.supply.mapped(_right_of_each, (plain, encoder), "score", rows.limits.block)
        for right_there, total_there in itertools.chain.from_iterable(there):
            right += right_there
            total += total_there
        return right / total
    with read_ahead(functools.partial(_checked, rows, model.coef_.shape[1])) as blocks:
        for block in blocks:
            right_here, total_here = _right_of(block, plain, encoder)
            right += right_here
            total += total_here
    return right / total


def _right_of_each(blocks: Iterator[Block], plain: Any, encoder: Encoder | None) -> list[tuple[float, float]]:
    """Return `_right_of` each of some blocks."""
    return [_right_of(block, plain, encoder) for block in blocks]


def _right_of(block: Block, plain: Any, encoder: Encoder | None) -> tuple[float, float]:
    """Return the weights of the rows that are predicted rightly, and of all; `plain` predicts codes."""
    predicted = plain.predict(as_array(block.X))
    if encoder is None or (isinstance(block.y, np.ndarray) and block.y.ndim == 2):
        correct = np.all(predicted == np.asarray(block.y), axis=1)
    else:
        correct = predicted == encoder.codes(block)
    weight = np.ones(len(correct)) if block.weight is None else np.asarray(block.weight, np.float64)
    return float(weight[correct].sum()), float(weight.sum())


def _results(
    model: Any, rows: RowSet, method: Callable[..., Any], arguments: tuple[Any, ...]
) -> Iterator[Any]:
    """Yield the method's results for the blocks."""
    plain = _without_names(model, rows)
    with read_ahead(functools.partial(_checked, rows, model.coef_.shape[1])) as blocks:
        for block in blocks:
            yield method(plain, as_array(block.X), *arguments)


def _checked(rows: RowSet, width: int) -> Iterator[Block]:
    """Yield the blocks, as wide as the model where their files do not say how wide they are.

    They are checked to hold finite numbers; the first bad one is named with its file and row.
    """
    for block in rows.read():
        if rows.has_open_width and isinstance(block.X, Csr) and block.X.shape[1] < width:
            block = block._replace(X=block.X._replace(shape=(block.n_rows, width), transpose=None))
        X = block.X.bits.view(np.float16) if isinstance(block.X, Halves) else block.X
        check_finite(block.file, "", X, rows.feature_names, first=block.first)
        yield block


def _without_names(model: Any, rows: RowSet) -> Any:
    """Return a copy of a model for blocks, which have no names; those of the rows are compared here, once."""
    names = getattr(model, "feature_names_in_", None)
    given = rows.feature_names
    if names is not None and given is not None and tuple(names) != tuple(given):
        missing = [name for name in names if name not in given]
        said = f"they lack {listed(missing, 8)}" if missing else "they are in another order"
        raise ValueError(f"the rows have other features than the model: {said}")
    width = rows.n_features
    may_be_wider = rows.has_open_width and width < model.coef_.shape[1]
    if width != model.coef_.shape[1] and not may_be_wider:
        raise ValueError(f"the rows have {width} features, but the model takes {model.coef_.shape[1]}")
    plain = copy.copy(model)
    plain.__dict__.pop("feature_names_in_", None)
    return plain


def written(results: Iterator[Any], out: Any, rows: RowSet | None, model: Any) -> Any:
    """Write results one after the other to an array or a file, replaced whole, and return `out`.

    Raises
    ------
    ValueError
        The array has another shape, or the name another suffix.
    TypeError
        `out` is neither, or the results are several arrays.
    """
    if isinstance(out, np.ndarray):
        _fill(out, results)
        return out
    if not isinstance(out, str | os.PathLike):
        raise TypeError(f"out must be an array or the name of a file; got {shown(out)}")
    path = Path(out)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"out must end in one of {', '.join(SUFFIXES)}; got {str(path)!r}")
    write = {".npy": _write_npy, ".parquet": _write_columns, ".csv": _write_columns}[path.suffix.lower()]
    handle, part = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        write(Path(part), path.suffix.lower(), results, rows, model)
        os.replace(part, path)  # noqa: PTH105
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return out


def _array(result: Any) -> Array:
    if not isinstance(result, np.ndarray):
        raise TypeError("out takes results that are one array; go through the blocks' results instead")
    return result


def _fill(out: Array, results: Iterator[Any]) -> None:
    """Copy results to an array, which must be as long as they are."""
    at = 0
    for result in results:
        part = _array(result)
        if out.shape[1:] != part.shape[1:] or at + len(part) > len(out):
            raise ValueError(f"out has shape {out.shape}; results are (n, ...) of {part.shape[1:]}")
        out[at : at + len(part)] = part
        at += len(part)
    if at != len(out):
        raise ValueError(f"out has {len(out)} rows, and there are {at} results")


def _write_npy(part: Path, suffix: str, results: Iterator[Any], rows: RowSet | None, model: Any) -> None:
    """Write results as one .npy array; its header, which holds their number, is written last."""
    n_rows, about = 0, None
    with part.open("wb") as file:
        file.write(b"\0" * 128)
        for result in results:
            array = np.ascontiguousarray(_array(result))
            about = about or (array.dtype, array.shape[1:])
            if n_rows and about != (array.dtype, array.shape[1:]):
                array = array.astype(about[0])
            file.write(array.reshape(-1).view(np.uint8).data)
            n_rows += len(array)
        dtype, shape = about or (np.dtype(np.float64), ())
        header = {"descr": dtype.str, "fortran_order": False, "shape": (n_rows, *shape)}
        text = repr(header).encode("latin1")
        text = text + b" " * (128 - 10 - len(text) - 1) + b"\n"
        file.seek(0)
        file.write(b"\x93NUMPY\x01\x00" + (128 - 10).to_bytes(2, "little") + text)


def _write_columns(part: Path, suffix: str, results: Iterator[Any], rows: RowSet | None, model: Any) -> None:
    """Write results as the columns of a Parquet or CSV file: a column a class, or the labels."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
        from pyarrow import csv
    except ImportError as error:
        raise ImportError(f"writing {suffix} needs pyarrow: pip install pyarrow") from error
    writer: Any = None
    try:
        for result in results:
            array = _array(result)
            columns = [array] if array.ndim == 1 else list(array.T)
            names = [str(label) for label in model.classes_]
            names = names if len(names) == len(columns) and array.ndim == 2 else ["prediction"]
            table = pa.table(dict(zip(names, columns)))
            if writer is None:
                make = parquet.ParquetWriter if suffix == ".parquet" else csv.CSVWriter
                writer = make(str(part), table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
