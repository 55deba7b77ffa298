"""Predictions and scores for rows that are read by blocks: written block by block, never held together."""

from __future__ import annotations

import io
import itertools
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import typer

from fastsoftmax.cli.accuracy import measure_rows
from fastsoftmax.cli.console import Progress, print_json, print_notes
from fastsoftmax.cli.reading import Meter
from fastsoftmax.persistence import container
from fastsoftmax.persistence.columns import columns_in, columns_of, write_npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.cli.accuracy import Measured
    from fastsoftmax.cli.streaming import Streamed
    from fastsoftmax.contracts import Array
    from fastsoftmax.estimator import SoftmaxRegression


def predict_rows(
    model: SoftmaxRegression, name: str, streamed: Streamed, why: str, label: str, *, proba: bool,
    out: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Write the labels or probabilities of rows to a file, or as CSV to stdout.

    A file is replaced whole, or not at all. Raises BadParameter for what would hold all results at once.
    """
    if out is None and as_json:
        raise typer.BadParameter("--json needs --out for rows that are read by blocks: it is one object")
    if out is not None and Path(out).suffix.lower() == ".npz":
        raise typer.BadParameter(".npz is not written by blocks; .parquet, .csv and .npy are")
    from fastsoftmax.data.blocks.row_set import RowSet

    rows = RowSet(streamed.chain, memory=streamed.memory, cache=False)
    kind = "proba" if proba else "labels"
    n_rows = 0
    with Progress() as progress, Meter(progress).of(rows).running("predicting"):
        results = model.predict_proba(rows) if proba else model.predict(rows)
        classes = as_numbers_or_text(model.classes_)
        header = [str(each) for each in classes]

        def counted() -> Iterator[Array]:
            nonlocal n_rows
            for each in results:
                n_rows += len(each)
                yield each if each.dtype.kind in "biufU" else each.astype(classes.dtype)

        if out is None:
            _add_all(".csv", _Stdout(), counted(), header, label)
        else:
            _write(out, counted(), header, label)
    notes = streamed.notes_of(why)
    if as_json:
        print_json({"data": name, "rows": n_rows, "written": kind, "out": out, "notes": list(notes)})
        return
    print_notes(notes)
    if out is not None:
        typer.echo(f"{kind} of {n_rows:,} rows written to {out}")


def score_rows(model: SoftmaxRegression, name: str, streamed: Streamed) -> Measured:
    """Return what a model makes of rows. One reading."""
    from fastsoftmax.data.blocks.row_set import RowSet

    rows = RowSet(streamed.chain, memory=streamed.memory, cache=False)
    if not rows.head.has_labels:
        raise ValueError(f"{name!r} has no labels; there is nothing to score against (--target names them)")
    with Progress() as progress, Meter(progress).of(rows).running("scoring"):
        return measure_rows(model, rows)


class _Stdout(io.BytesIO):
    """Standard output as a file of bytes, whatever stands in for it."""

    def write(self, content: Any) -> int:
        """Write UTF-8."""
        return sys.stdout.write(bytes(content).decode())


def as_numbers_or_text(values: Any) -> Array:
    """Return results as an array of numbers or text: labels that pandas gave as objects become text."""
    values = np.asarray(values)
    return values if values.dtype.kind in "biufU" else values.astype(str)


def _write(out: str, results: Iterator[Array], header: list[str], label: str) -> None:
    """Write a .csv, .parquet or .npy file, whole or not at all."""
    with container.replacing(out) as file:
        if Path(out).suffix.lower() == ".npy":
            write_npy(file, results)
        else:
            _add_all(Path(out).suffix.lower(), file, results, header, label)


def _add_all(suffix: str, file: IO[bytes], results: Iterator[Array], header: list[str], label: str) -> None:
    """Write results as columns: one for each class, or the labels."""
    first = next(results)
    with columns_in(suffix, file, header if first.ndim == 2 else [label]) as columns:
        for values in itertools.chain((first,), results):
            columns.add(columns_of(values))
