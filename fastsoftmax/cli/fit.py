"""The command `fit`: a model of a data set, tested, saved and drawn."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from fastsoftmax.cli import options
from fastsoftmax.cli.accuracy import measure
from fastsoftmax.cli.console import Progress, agreed, can_ask, one_line, print_json, says_failures
from fastsoftmax.cli.fit_report import print_fit, summary
from fastsoftmax.cli.matching import check_labels, check_target, check_width, expected, facts, test_part
from fastsoftmax.cli.options import AsJson, Data, Target, Threads  # noqa: TC001  (typer reads annotations)
from fastsoftmax.cli.splitting import held_out
from fastsoftmax.data import readers
from fastsoftmax.persistence import container

if TYPE_CHECKING:
    from fastsoftmax.data.readers import Table
    from fastsoftmax.estimator import SoftmaxRegression

# Formats that a model file is not.
_NO_MODEL = (
    *(".csv", ".tsv", ".txt", ".npy", ".npz", ".parquet", ".svm", ".libsvm", ".gz", ".zip", ".h5"),
    *(".json", ".pkl", ".pickle", ".onnx", ".pt", ".png", ".pdf", ".svg", ".jpg", ".jpeg", ".py"),
)


class Loss(StrEnum):
    """The losses that can be named on the command line."""

    softmax = "softmax"
    sigmoid = "sigmoid"


class MultiClass(StrEnum):
    """The models of more than two classes that can be named on the command line."""

    multinomial = "multinomial"
    ovr = "ovr"


class ClassWeight(StrEnum):
    """The weights of classes that can be named on the command line."""

    balanced = "balanced"


@says_failures
def fit(
    data: Data,
    test: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Data to test on (default: the test part of DATA, if any)."),
    ] = None,
    test_size: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            callback=options.fraction,
            help="Hold out this part of each class as test data (0.2).",
        ),
    ] = None,
    target: Target = None,
    features: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMNS", help="Columns to use, by name or index: a,b,c (default: all)."),
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="COLUMNS", help="Columns not to use.")] = None,
    ids: Annotated[
        str | None, typer.Option("--id", metavar="COLUMN", help="Column that names the rows: no feature.")
    ] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of row weights: no feature.")
    ] = None,
    class_weight: Annotated[
        ClassWeight | None, typer.Option(help="balanced: rare classes weigh as much as frequent ones.")
    ] = None,
    drop_missing: options.DropMissing = False,
    sep: options.Sep = None,
    header: options.Header = None,
    form: options.Format = None,
    index_base: options.Base = options.IndexBase.auto,
    C: Annotated[
        float,
        typer.Option("--C", callback=options.positive, help="Inverse strength of the l2 penalty; inf: none."),
    ] = 1.0,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", callback=options.ends_in_none(*_NO_MODEL), help="Write the fitted model here."
        ),
    ] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.png",
            callback=options.ends_in(".png", ".pdf", ".svg"),
            help="Draw the falling loss here, and what suits the data (needs matplotlib).",
        ),
    ] = None,
    solver: Annotated[str, typer.Option(help="As SoftmaxRegression takes it.")] = "auto",
    tol: Annotated[
        float, typer.Option(callback=options.positive, help="Relative distance from the optimum to stop at.")
    ] = 1e-6,
    max_iter: Annotated[int, typer.Option(min=1, help="Most iterations.")] = 1000,
    loss: Annotated[Loss, typer.Option(help="softmax; sigmoid for a 0/1 matrix of labels.")] = Loss.softmax,
    multi_class: Annotated[
        MultiClass, typer.Option(help="ovr: each class against all others, by a sigmoid of its own.")
    ] = MultiClass.multinomial,
    standardize: Annotated[
        bool, typer.Option("--standardize", help="Penalise the coefficients of standardised columns.")
    ] = False,
    n_threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Fit a model to DATA and say how good it is."""
    for path in (out, plot):
        if path is not None:
            container.check_writable(path)
    if plot is not None:
        from fastsoftmax.plot import require_matplotlib

        require_matplotlib()  # to be said before the fit and not after
    if test is not None and test_size is not None:
        raise typer.BadParameter("--test and --test-size exclude each other")
    request = readers.Request(
        target=target,
        features=options.columns_of(features),
        drop=options.columns_of(drop),
        weight=weight,
        ids=ids,
        drop_missing=drop_missing,
        format=form,
        sep=sep,
        header=header,
        index_base=index_base.number,
    )
    with Progress() as progress:
        progress.say(f"reading {data} ...")
        table = readers.read(data, request)
        table = table._replace(notes=table.notes + check_target(data, table))
        if test_size is not None:
            table = held_out(table, test_size)
        if test is not None:
            table = _with_test(table, data, test, request)
        X_test, y_test = table.X_test, table.y_test
        if y_test is not None and table.y is not None and y_test.ndim == table.y.ndim == 1:
            check_labels(y_test, np.unique(table.y))
        progress.say("fitting ...")
        from fastsoftmax.estimator import SoftmaxRegression

        model = SoftmaxRegression(
            C=C,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            loss=loss.value,
            multi_class=multi_class.value,
            class_weight=None if class_weight is None else class_weight.value,
            standardize=standardize,
            n_threads=n_threads,
            callbacks=[progress.record],
            keep_on_interrupt=can_ask(),
        )
        interrupted = _interrupted(model, table)
    if interrupted is not None and not agreed(f"fastsoftmax: {interrupted} Go on with that model?"):
        raise KeyboardInterrupt
    with Progress() as progress:
        progress.say("testing ...")
        accuracies = [
            None if X is None or y is None else measure(model, X, y)[0] / len(y)
            for X, y in ((table.X, table.y), (X_test, y_test))
        ]
    result = {
        "data": data,
        **summary(table, model),
        "train_accuracy": accuracies[0],
        "test_accuracy": accuracies[1],
        "model": out,
        "plot": plot,
        "notes": list(table.notes),
    }
    if plot is not None:
        title = f"{Path(data).name}: {result['rows']:,} rows × {result['features']:,} features, C = {C:g}"
        _draw(plot, model, table, title)
    if out is not None:
        _save(out, model, table, has_names=data not in readers.EMBEDDED)
    print_json(result) if as_json else print_fit(result, table)


def _interrupted(model: SoftmaxRegression, table: Table) -> str | None:
    """Fit the model; return what is to be said of it if that was interrupted, and else None."""
    from fastsoftmax.estimator.interrupts import InterruptedFit

    with warnings.catch_warnings():
        warnings.simplefilter("error", InterruptedFit)
        try:
            model.fit(table.X, table.y, sample_weight=table.weight)
        except InterruptedFit as warning:  # raised after the last point has been kept
            return one_line(warning)
    return None


def _with_test(table: Table, data: str, test: str, request: readers.Request) -> Table:
    """Return the table with another one's test part, or all of it, as its own."""
    assert table.y is not None
    names = None if data in readers.EMBEDDED else table.feature_names
    like = expected(table.y, table.X.shape[1], names, facts(table))
    used = replace(request, model=like, features=(), drop=(), weight=None, ids=None)
    other = readers.read(test, used)
    X_test, y_test = test_part(other)
    check_width(test, X_test, table.X.shape[1])
    notes = tuple(f"test data: {note}" for note in other.notes)
    return table._replace(X_test=X_test, y_test=y_test, notes=table.notes + notes)


def _save(path: str, model: SoftmaxRegression, table: Table, has_names: bool) -> None:
    """Write a model file, with what `predict` needs to see of the data: names, labels, first index."""
    if table.feature_names is not None and has_names:
        model.feature_names_in_ = np.array(table.feature_names, dtype=object)
    model._table = facts(table)
    model.save(path)


def _draw(path: str, model: SoftmaxRegression, table: Table, title: str) -> None:
    """Draw a fit into a file, as the suffix of its name says."""
    from fastsoftmax.plot import overview

    assert table.y is not None
    picture = io.BytesIO()
    figure = overview(
        model,
        table.X,
        table.y,
        X_test=table.X_test,
        y_test=table.y_test,
        class_names=table.class_names,
        feature_names=table.feature_names,
        title=title,
    )
    figure.savefig(picture, format=Path(path).suffix[1:].lower())
    with container.replacing(path) as file:
        file.write(picture.getbuffer())
