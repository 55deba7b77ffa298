"""The command `fit`: a model of a data set, tested, saved and drawn."""

from __future__ import annotations

import io
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fastsoftmax.cli.accuracy import measure
from fastsoftmax.cli.console import Progress, listed, nats, print_json, print_rows, says_failures
from fastsoftmax.cli.matching import check_labels, check_width, test_part
from fastsoftmax.cli.options import AsJson, Data, Target, Threads, ends_in, positive
from fastsoftmax.data import readers
from fastsoftmax.persistence import container

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array
    from fastsoftmax.data.readers import Table
    from fastsoftmax.estimator import SoftmaxRegression


class Loss(StrEnum):
    """The losses that can be named on the command line."""

    softmax = "softmax"
    sigmoid = "sigmoid"


@says_failures
def fit(
    data: Data,
    test: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Data to test on (default: the test part of DATA, if any)."),
    ] = None,
    target: Target = None,
    C: Annotated[
        float, typer.Option("--C", callback=positive, help="Inverse strength of the l2 penalty; inf: none.")
    ] = 1.0,
    out: Annotated[str | None, typer.Option(metavar="MODEL", help="Write the fitted model here.")] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.png",
            callback=ends_in(".png", ".pdf", ".svg"),
            help="Draw the falling loss here, and what suits the data (needs matplotlib).",
        ),
    ] = None,
    solver: Annotated[str, typer.Option(help="Solver, or auto.")] = "auto",
    tol: Annotated[
        float, typer.Option(callback=positive, help="Relative distance from the optimum to stop at.")
    ] = 1e-6,
    max_iter: Annotated[int, typer.Option(min=1, help="Most iterations.")] = 1000,
    loss: Annotated[Loss, typer.Option(help="softmax; sigmoid for a 0/1 matrix of labels.")] = Loss.softmax,
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
    with Progress() as progress:
        progress.say(f"reading {data} ...")
        table = readers.read(data, target=target)
        X_test, y_test = table.X_test, table.y_test
        if test is not None:
            X_test, y_test = test_part(readers.read(test, target=target, n_features=table.X.shape[1]))
            check_width(test, X_test, table.X.shape[1])
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
            n_threads=n_threads,
            callbacks=[progress.record],
        )
        model.fit(table.X, table.y)
        progress.say("testing ...")
        accuracies = [
            None if X is None or y is None else measure(model, X, y)[0] / len(y)
            for X, y in ((table.X, table.y), (X_test, y_test))
        ]
    result = {
        "data": data,
        **_sizes(table, y_test),
        **_fit_summary(model),
        "train_accuracy": accuracies[0],
        "test_accuracy": accuracies[1],
        "model": out,
        "plot": plot,
        "notes": list(table.notes),
    }
    if out is not None:
        if table.feature_names is not None and data not in readers.EMBEDDED:
            # kept for `predict` to see that a column has moved
            model.feature_names_in_ = np.array(table.feature_names, dtype=object)
        model.save(out)
    if plot is not None:
        title = f"{Path(data).name}: {result['rows']:,} rows × {result['features']:,} features, C = {C:g}"
        _draw(plot, model, table._replace(X_test=X_test, y_test=y_test), title)
    print_json(result) if as_json else _print_fit(result, table.class_names)


def _sizes(table: Table, y_test: Array | None) -> dict[str, Any]:
    """Return how large a data set is, in the names of the JSON output."""
    n_rows, n_features = table.X.shape
    return {"rows": n_rows, "features": n_features, "test_rows": None if y_test is None else len(y_test)}


def _fit_summary(model: SoftmaxRegression) -> dict[str, Any]:
    """Return how a fit went, in the names of the JSON output."""
    last = model.history_[-1]
    return {
        "classes": len(model.classes_),
        "C": model.C,
        "loss": model.loss,
        "solver": model.solver_,
        "iterations": int(np.max(model.n_iter_)),
        "passes": last.passes,
        "seconds": last.seconds,
        "objective": model.objective_,
        "duality_gap": model.duality_gap_,
        "grad_norm": last.grad_norm,
    }


def _draw(path: str, model: SoftmaxRegression, table: Table, title: str) -> None:
    """Draw a fit into a file, as the suffix of its name says."""
    from fastsoftmax.plot import overview

    parts = table._asdict()
    X, y, _ = parts.pop("X"), parts.pop("y"), parts.pop("notes")
    picture, figure = io.BytesIO(), overview(model, X, y, **parts, title=title)
    figure.savefig(picture, format=Path(path).suffix[1:].lower())
    with container.replacing(path) as file:
        file.write(picture.getbuffer())


def _print_fit(result: dict[str, Any], class_names: tuple[str, ...] | None) -> None:
    """Print the result of a fit as a table."""
    named = ""
    if class_names is not None and len(class_names) == result["classes"]:
        named = f"   {listed(class_names)}".removesuffix(f" ({len(class_names)})")
    tested = "no test data" if result["test_accuracy"] is None else f"{result['test_accuracy']:.2%}"
    tested += "" if result["test_rows"] is None else f"   of {result['test_rows']:,} rows"
    print_rows(
        ("data", f"{result['data']}   {result['rows']:,} rows × {result['features']:,} features"),
        *(("", note) for note in result["notes"]),
        ("classes", f"{result['classes']}{named}"),
        ("solver", f"{result['solver']}   {result['iterations']:,} iterations, {result['passes']:,} passes"),
        ("time", f"{result['seconds']:.3g} s"),
        ("objective", f"{result['objective']:.8g} nats"),
        ("duality gap", nats(result["duality_gap"]))
        if result["duality_gap"] is not None
        else ("gradient norm", f"{result['grad_norm']:.2e}"),
        ("train accuracy", f"{result['train_accuracy']:.2%}"),
        ("test accuracy", tested),
        ("model", result["model"] or "not saved (--out MODEL saves it)"),
        *((("picture", result["plot"]),) if result["plot"] else ()),
    )
