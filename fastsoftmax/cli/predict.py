"""The commands `predict` and `score`: a saved model on a data set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from fastsoftmax.cli.accuracy import measure
from fastsoftmax.cli.console import csv_text, print_json, print_rows, says_failures
from fastsoftmax.cli.matching import check_names, check_width, load_model, test_part
from fastsoftmax.cli.options import AsJson, Data, Model, Target, ends_in
from fastsoftmax.data import readers
from fastsoftmax.persistence import container

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array


@says_failures
def predict(
    model: Model,
    data: Data,
    target: Target = None,
    proba: Annotated[bool, typer.Option("--proba", help="Probabilities of the classes, not labels.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            callback=ends_in(".csv", ".npy", ".npz"),
            help="Write here (.csv, .npy, .npz), not to stdout.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Label the rows of DATA (of its test part, if it has one); COLUMN of a table is left out."""
    if out is not None:
        container.check_writable(out)
    fitted = load_model(model)
    table = readers.read(data, target=target, labelled=False, n_features=fitted.n_features_in_)
    X, _ = test_part(table)
    check_width(data, X, fitted.n_features_in_, hint=target is None)
    check_names(data, table, fitted)
    values = np.asarray(fitted.predict_proba(X) if proba else fitted.predict(X))
    if values.dtype.kind not in "biufU":
        values = values.astype(str)  # labels that pandas gave as objects: only text gets this far
    classes = [str(label) for label in fitted.classes_]
    name = "proba" if proba else "labels"
    if out is not None:
        _write(out, name, values, classes)
        summary = {"data": data, "rows": len(values), "written": name, "out": out}
        print_json(summary) if as_json else typer.echo(f"{name} of {len(values):,} rows written to {out}")
    elif as_json:
        print_json(
            {"data": data, "rows": len(values), "classes": fitted.classes_.tolist(), name: values.tolist()}
        )
    else:
        for text in csv_text(values, classes if values.ndim == 2 else None):
            sys.stdout.write(text)


@says_failures
def score(model: Model, data: Data, target: Target = None, as_json: AsJson = False) -> None:
    """Say how well MODEL labels DATA (its test part, if it has one): accuracy and mean log-loss."""
    fitted = load_model(model)
    table = readers.read(data, target=target, n_features=fitted.n_features_in_)
    X, y = test_part(table)
    check_width(data, X, fitted.n_features_in_)
    check_names(data, table, fitted)
    if y is None:
        raise ValueError(f"{data!r} has no labels for its test part; there is nothing to score against")
    right, log_loss = measure(fitted, X, y)
    result = {"model": model, "data": data, "rows": len(y), "accuracy": right / len(y), "log_loss": log_loss}
    if as_json:
        print_json(result)
        return
    print_rows(
        ("data", f"{data}   {len(y):,} rows × {X.shape[1]:,} features"),
        ("model", model),
        ("accuracy", f"{right / len(y):.4%}   {right:,} of {len(y):,} right"),
        ("log-loss", f"{log_loss:.6g} nats a row"),
    )


def _write(path: str, name: str, values: Array, classes: list[str]) -> None:
    """Write predictions into a .csv, .npy or .npz file, whole or not at all."""
    with container.replacing(path) as file:
        match Path(path).suffix.lower():
            case ".npy":
                np.save(file, values, allow_pickle=False)
            case ".npz":
                np.savez(file, allow_pickle=False, **{name: values, "classes": np.array(classes)})
            case _:
                for text in csv_text(values, classes if values.ndim == 2 else None):
                    file.write(text.encode())
