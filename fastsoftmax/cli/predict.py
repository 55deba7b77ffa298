"""The commands `predict` and `score`: a saved model on a data set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fastsoftmax.cli import options
from fastsoftmax.cli.accuracy import measure
from fastsoftmax.cli.console import csv_text, print_json, print_notes, print_rows, says_failures
from fastsoftmax.cli.matching import check_width, load_model, test_part
from fastsoftmax.cli.options import AsJson, Data, Model, Target  # noqa: TC001  (typer reads annotations)
from fastsoftmax.data import readers
from fastsoftmax.persistence import container

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
            callback=options.ends_in(".csv", ".npy", ".npz"),
            help="Write here (.csv, .npy, .npz), not to stdout.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Label the rows of DATA (of its test part, if it has one); its label column is left out."""
    if out is not None:
        container.check_writable(out)
        if ids is not None and Path(out).suffix.lower() == ".npy":
            raise typer.BadParameter("a .npy file has no place for --id; .csv and .npz have")
    if drop_missing and ids is None:
        raise typer.BadParameter("--drop-missing needs --id here, to tell which rows are left")
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
    table = readers.read(data, request)
    X, _ = test_part(table)
    check_width(data, X, fitted.n_features_in_, hint=target is None)
    if table.ids is not None and len(table.ids) != X.shape[0]:
        raise ValueError(f"{data!r}: {len(table.ids)} names of rows for {X.shape[0]} rows")
    values = np.asarray(fitted.predict_proba(X) if proba else fitted.predict(X))
    if values.dtype.kind not in "biufU":
        values = values.astype(str)  # labels that pandas gave as objects: only text gets this far
    classes = [str(label) for label in fitted.classes_]
    label = "label" if expected.feature_names is None else expected.target or "label"
    result = _Predictions("proba" if proba else "labels", values, classes, label, table)
    if not as_json:
        print_notes(table.notes)
    said: dict[str, Any] = {"data": data, "rows": len(values)}
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
    table = readers.read(data, request)
    X, y = test_part(table)
    check_width(data, X, fitted.n_features_in_)
    if y is None:
        raise ValueError(f"{data!r} has no labels for its test part; there is nothing to score against")
    right, log_loss = measure(fitted, X, y)
    result = {"model": model, "data": data, "rows": len(y), "accuracy": right / len(y), "log_loss": log_loss}
    if as_json:
        print_json(result | {"notes": list(table.notes)})
        return
    print_rows(
        ("data", f"{data}   {len(y):,} rows × {X.shape[1]:,} features"),
        *(("", note) for note in table.notes),
        ("model", model),
        ("accuracy", f"{right / len(y):.4%}   {right:,} of {len(y):,} right"),
        ("log-loss", f"{log_loss:.6g} nats a row"),
    )


class _Predictions:
    """Labels or probabilities of rows, and the names that are written with them."""

    def __init__(self, name: str, values: Array, classes: list[str], label: str, table: readers.Table):
        self.name, self.values, self.classes = name, values, classes
        self._ids, self._id_name = table.ids, table.id_name or "id"
        self._header = classes if values.ndim == 2 else [label]

    def csv(self) -> Iterator[str]:
        """Yield the lines of a CSV file, its first the names of the columns."""
        return csv_text(self.values, self._header, self._ids, self._id_name)

    def write(self, path: str) -> None:
        """Write a .csv, .npy or .npz file, whole or not at all."""
        with container.replacing(path) as file:
            match Path(path).suffix.lower():
                case ".npy":
                    np.save(file, self.values, allow_pickle=False)
                case ".npz":
                    parts = {self.name: self.values, "classes": np.array(self.classes)}
                    parts |= {} if self._ids is None else {"id": self._ids}
                    np.savez(file, allow_pickle=False, **parts)
                case _:
                    for text in self.csv():
                        file.write(text.encode())
