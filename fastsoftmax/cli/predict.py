"""The commands `predict` and `score`: a saved model on a data set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fastsoftmax.cli import options, streaming
from fastsoftmax.cli.accuracy import MOST_IN_JSON, confusions, measure, said_confused
from fastsoftmax.cli.console import print_json, print_notes, print_rows, says_failures
from fastsoftmax.cli.matching import check_width, load_model, test_part
from fastsoftmax.cli.options import AsJson, Data, Model, Target  # noqa: TC001  (typer reads annotations)
from fastsoftmax.cli.predict_rows import as_numbers_or_text, predict_rows, score_rows
from fastsoftmax.cli.streaming import Storage
from fastsoftmax.data import readers
from fastsoftmax.persistence import container
from fastsoftmax.persistence.columns import columns_in, columns_of, csv_lines, csv_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Array


@says_failures
def predict(
    model: Model,
    data: Data,
    target: Target = None,
    ids: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="Column that names the rows: written beside them."),
    ] = None,
    drop_missing: options.DropMissing = False,
    sep: options.Sep = None,
    header: options.Header = None,
    form: options.Format = None,
    index_base: options.Base = options.IndexBase.auto,
    proba: Annotated[bool, typer.Option("--proba", help="Probabilities of the classes, not labels.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            callback=options.ends_in(".csv", ".parquet", ".npy", ".npz"),
            help="Write here (.csv, .parquet, .npy, .npz), not to stdout.",
        ),
    ] = None,
    memory: options.Memory = None,
    layer: options.Layer = None,
    as_json: AsJson = False,
) -> None:
    """Label the rows of DATA (of its test part, if it has one); its label column is left out."""
    if out is not None:
        container.check_writable(out)
        if ids is not None and Path(out).suffix.lower() == ".npy":
            raise typer.BadParameter("a .npy file has no place for --id; .csv and .npz have")
    if drop_missing and ids is None:
        raise typer.BadParameter("--drop-missing needs --id here, to tell which rows are left")
    name, storage = streaming.joined(data), Storage(memory, layer=layer)
    fitted, expected = load_model(model)
    request = readers.Request(
        target=target,
        labelled=False,
        model=expected,
        ids=ids,
        drop_missing=drop_missing,
        format=form,
        sep=sep,
        header=header,
        index_base=index_base.number,
    )
    why = streaming.reason(data, request, storage)
    label = "label" if expected.feature_names is None else expected.target or "label"
    if why is not None:
        streamed = streaming.opened(data, request, storage, why)
        predict_rows(fitted, name, streamed, why, label, proba=proba, out=out, as_json=as_json)
        return
    table = readers.read(name, request)
    X, _ = test_part(table)
    check_width(name, X, fitted.n_features_in_, hint=target is None)
    if table.ids is not None and len(table.ids) != X.shape[0]:
        raise ValueError(f"{name!r}: {len(table.ids)} names of rows for {X.shape[0]} rows")
    values = as_numbers_or_text(fitted.predict_proba(X) if proba else fitted.predict(X))
    classes = [str(label) for label in fitted.classes_]
    result = _Predictions("proba" if proba else "labels", values, classes, label, table)
    if not as_json:
        print_notes(table.notes)
    said: dict[str, Any] = {"data": name, "rows": len(values)}
    if out is not None:
        result.write(out)
        said |= {"written": result.name, "out": out, "notes": list(table.notes)}
        print_json(said) if as_json else typer.echo(f"{result.name} of {len(values):,} rows written to {out}")
    elif as_json:
        said |= {"classes": fitted.classes_.tolist(), result.name: values.tolist()}
        said |= {} if table.ids is None else {"id": table.ids.tolist()}
        print_json(said | {"notes": list(table.notes)})
    else:
        for text in result.csv():
            sys.stdout.write(text)


@says_failures
def score(
    model: Model,
    data: Data,
    target: Target = None,
    drop_missing: options.DropMissing = False,
    sep: options.Sep = None,
    header: options.Header = None,
    form: options.Format = None,
    index_base: options.Base = options.IndexBase.auto,
    memory: options.Memory = None,
    layer: options.Layer = None,
    as_json: AsJson = False,
) -> None:
    """Say how well MODEL labels DATA (its test part, if it has one): accuracy and mean log-loss."""
    fitted, expected = load_model(model)
    request = readers.Request(
        target=target,
        model=expected,
        drop_missing=drop_missing,
        format=form,
        sep=sep,
        header=header,
        index_base=index_base.number,
    )
    name, storage = streaming.joined(data), Storage(memory, layer=layer)
    why = streaming.reason(data, request, storage)
    if why is not None:
        streamed = streaming.opened(data, request, storage, why)
        found = score_rows(fitted, name, streamed)
        notes = streamed.notes_of(why)
    else:
        table = readers.read(name, request)
        X, y = test_part(table)
        check_width(name, X, fitted.n_features_in_)
        if y is None:
            raise ValueError(f"{name!r} has no labels for its test part; there is nothing to score against")
        found, notes = measure(fitted, X, y), table.notes
    n_rows, right, log_loss = found.n_rows, found.right, found.log_loss
    accuracy = right / n_rows
    confused = confusions(found, fitted.classes_, MOST_IN_JSON)
    result = {"model": model, "data": name, "rows": n_rows, "accuracy": accuracy, "log_loss": log_loss}
    if as_json:
        print_json(result | {"confusions": confused, "notes": list(notes)})
        return
    print_rows(
        ("data", f"{name}   {n_rows:,} rows × {fitted.n_features_in_:,} features"),
        *(("", note) for note in notes),
        ("model", model),
        ("accuracy", f"{accuracy:.4%}   {right:,} of {n_rows:,} right"),
        ("log-loss", f"{log_loss:.6g} nats a row"),
        *said_confused(confused),
    )


class _Predictions:
    """Labels or probabilities of rows, and the names that are written with them."""

    def __init__(self, name: str, values: Array, classes: list[str], label: str, table: readers.Table):
        self.name, self.values, self.classes = name, values, classes
        self._ids, self._id_name = table.ids, table.id_name or "id"
        self._header = classes if values.ndim == 2 else [label]

    def csv(self) -> Iterator[str]:
        """Yield the lines of a CSV file, its first the names of the columns."""
        yield csv_lines([self._names])
        yield from csv_text(self._columns)

    def write(self, path: str) -> None:
        """Write a .csv, .parquet, .npy or .npz file, whole or not at all."""
        with container.replacing(path) as file:
            match Path(path).suffix.lower():
                case ".npy":
                    np.save(file, self.values, allow_pickle=False)
                case ".npz":
                    parts = {self.name: self.values, "classes": np.array(self.classes)}
                    parts |= {} if self._ids is None else {"id": self._ids}
                    np.savez(file, allow_pickle=False, **parts)
                case suffix:
                    with columns_in(suffix, file, self._names) as columns:
                        columns.add(self._columns)

    @property
    def _names(self) -> list[str]:
        """The names of the columns; where the rows have names, these are the first."""
        return self._header if self._ids is None else [self._id_name, *self._header]

    @property
    def _columns(self) -> list[Array]:
        columns = columns_of(self.values)
        return columns if self._ids is None else [self._ids, *columns]
