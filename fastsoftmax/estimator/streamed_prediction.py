"""Predictions for rows that are not in memory: block by block, or written to an array or a file."""

from __future__ import annotations

import copy
import functools
import itertools
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Halves
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import dask
from fastsoftmax.data.blocks.labels import Encoder
from fastsoftmax.data.blocks.remote import Remote
from fastsoftmax.data.blocks.row_set import RowSet, as_array
from fastsoftmax.data.readers.table import check_finite, listed
from fastsoftmax.estimator import dask_prediction, offsets
from fastsoftmax.persistence import columns, container
from fastsoftmax.runtime.read_ahead import read_ahead
from fastsoftmax.runtime.scikit_learn import dispatched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastsoftmax.contracts import Array
    from fastsoftmax.data.blocks.block import Block

SUFFIXES = (".npy", ".parquet", ".csv")


def over_rows(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method of X (n, d) that returns an array with n rows take rows elsewhere, too.

    For a `RowSet` it returns an iterator of the results of its blocks, in order; with the keyword `out`, an
    array or the name of a file (.npy, .parquet, .csv), these are written there, and `out` is returned. For
    collections of Dask it returns lazy ones; under scikit-learn's `array_api_dispatch`, for arrays of
    another library, arrays of it.
    """

    @functools.wraps(method)
    def predict(self: Any, X: Any, *arguments: Any, out: Any = None, **options: Any) -> Any:
        if options.get("offset") is not None:
            offsets.refuse_elsewhere(X)
        if isinstance(X, RowSet):
            self._check_is_fitted()
            results = _results(self, X, functools.partial(method, **options), arguments)
            return results if out is None else written(results, out, self, method.__name__)
        if dask.is_dask(X):
            self._check_is_fitted()
            if out is not None:
                raise ValueError("out= is for arrays and rows of open_rows; Dask stores what this returns")
            return dask_prediction.lazy(functools.partial(method, **options), self, X, arguments)
        result = method(self, X, *arguments, **options)
        return dispatched(X, result) if out is None else written(iter([result]), out, self, method.__name__)

    return predict


def score(model: Any, rows: RowSet) -> float:
    """Return the weighted mean accuracy on rows with labels. One reading.

    Raises ValueError, naming file and row, for a label that is none of the model's classes.
    """
    model._check_is_fitted()
    if not rows.head.has_labels:
        raise ValueError("the rows have no labels: give target= to open_rows, or (X, y) in rows_from")
    plain = without_names(model, rows)
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
    with read_ahead(functools.partial(checked, rows, model.coef_.shape[1])) as blocks:
        for block in blocks:
            rows.check_size(block.file)  # it may have been cut since the block was read ahead
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
    plain = without_names(model, rows)
    n_rows = 0
    with read_ahead(functools.partial(checked, rows, model.coef_.shape[1])) as blocks:
        for block in blocks:
            n_rows += block.n_rows
            rows.check_size(block.file)  # it may have been cut since the block was read ahead
            yield method(plain, as_array(block.X), *arguments)
    if not n_rows:
        raise ValueError("there are no rows")


def checked(rows: RowSet, width: int) -> Iterator[Block]:
    """Yield the blocks, as wide as the model where their files do not say how wide they are.

    They are checked to hold finite numbers; the first bad one is named with its file and row.
    """
    for block in rows.read():
        if rows.has_open_width and isinstance(block.X, Csr) and block.X.shape[1] < width:
            block = block._replace(X=block.X._replace(shape=(block.n_rows, width), transpose=None))
        X = block.X.bits.view(np.float16) if isinstance(block.X, Halves) else block.X
        check_finite(block.file, "", X, rows.feature_names, first=block.first)
        yield block


def without_names(model: Any, rows: RowSet) -> Any:
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


def written(results: Iterator[Any], out: Any, model: Any, name: str) -> Any:
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
    suffix = Path(out).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"out must end in one of {', '.join(SUFFIXES)}; got {str(out)!r}")
    with container.replacing(out) as file:
        if suffix == ".npy":
            columns.write_npy(file, map(_array, results))
        else:
            _write_columns(suffix, file, results, model, name)
    return out


def _array(result: Any) -> Array:
    if not isinstance(result, np.ndarray):
        raise TypeError(
            "an array and a .npy file take results that are one array; .parquet and .csv take several"
        )
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


def _write_columns(suffix: str, file: IO[bytes], results: Iterator[Any], model: Any, name: str) -> None:
    """Write results as columns: one for each class, or of several arrays one for each rank."""
    first = next(results)
    with columns.columns_in(suffix, file, _names_of(first, model, name)) as writer:
        for result in itertools.chain((first,), results):
            parts = result if isinstance(result, tuple) else (result,)
            writer.add([column for part in parts for column in columns.columns_of(part)])


def _names_of(result: Any, model: Any, name: str) -> list[str]:
    """Return the names of a result's columns."""
    if isinstance(result, tuple):  # `predict_top_k`
        ranks = range(1, result[0].shape[1] + 1)
        return [f"{part}_{rank}" for part in ("class", "proba") for rank in ranks]
    if result.ndim == 2:
        return [str(label) for label in model.classes_]
    return ["prediction" if name == "predict" else name]
