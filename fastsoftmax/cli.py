"""The command line: `fastsoftmax fit`, `predict`, `score` and `info`.

Results go to stdout, progress and warnings to stderr. A failure is one line on stderr and a status; a
developer who wants the traceback runs `python -X dev -m fastsoftmax`. What is heavy (Numba, pandas,
scikit-learn, matplotlib) is imported by the command that needs it, so that `--help` is quick.
"""

from __future__ import annotations

import io
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fastsoftmax import __version__, model_file, readers
from fastsoftmax.console import Progress, csv_text, listed, nats, print_json, print_rows, says_failures

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_BLOCK = 4096  # rows measured at a time

app = typer.Typer(
    help="Softmax regression (multinomial logistic regression) on a file of data.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Loss(StrEnum):
    """The losses that can be named on the command line."""

    softmax = "softmax"
    sigmoid = "sigmoid"


def _positive(value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise typer.BadParameter(f"{value} is not above 0")
    return value


def _ends_in(*suffixes: str) -> Callable[[str | None], str | None]:
    """Return a check of an option: a file name that ends in one of the suffixes."""

    def check(value: str | None) -> str | None:
        if value is not None and Path(value).suffix.lower() not in suffixes:
            raise typer.BadParameter(f"{value!r} ends in none of {', '.join(suffixes)}")
        return value

    return check


_DATA_HELP = f"An embedded set ({', '.join(readers.EMBEDDED)}) or a file ({readers.KINDS})."
Data = Annotated[str, typer.Argument(metavar="DATA", help=_DATA_HELP)]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A file written by `fit --out`.")]
Target = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Label column, by name or index (default: the last).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to use (default: all cores).")]


@app.callback(invoke_without_command=True)
def _common(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        typer.echo(f"fastsoftmax {__version__}")
        raise typer.Exit


@app.command()
@says_failures
def fit(
    data: Data,
    test: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Data to test on (default: the test part of DATA, if any)."),
    ] = None,
    target: Target = None,
    C: Annotated[
        float, typer.Option("--C", callback=_positive, help="Inverse strength of the l2 penalty; inf: none.")
    ] = 1.0,
    out: Annotated[str | None, typer.Option(metavar="MODEL", help="Write the fitted model here.")] = None,
    plot: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.png",
            callback=_ends_in(".png", ".pdf", ".svg"),
            help="Draw the falling loss here, and what suits the data (needs matplotlib).",
        ),
    ] = None,
    solver: Annotated[str, typer.Option(help="Solver, or auto.")] = "auto",
    tol: Annotated[
        float, typer.Option(callback=_positive, help="Relative distance from the optimum to stop at.")
    ] = 1e-6,
    max_iter: Annotated[int, typer.Option(min=1, help="Most iterations.")] = 1000,
    loss: Annotated[Loss, typer.Option(help="softmax; sigmoid for a 0/1 matrix of labels.")] = Loss.softmax,
    n_threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Fit a model to DATA and say how good it is."""
    for path in (out, plot):
        if path is not None:
            model_file.check_writable(path)
    if plot is not None:
        from fastsoftmax.plot import require_matplotlib

        require_matplotlib()  # to be said before the fit and not after
    with Progress() as progress:
        progress.say(f"reading {data} ...")
        table = readers.read(data, target=target)
        X_test, y_test = table.X_test, table.y_test
        if test is not None:
            X_test, y_test = _test_part(readers.read(test, target=target, n_features=table.X.shape[1]))
            _check_width(test, X_test, table.X.shape[1])
        if y_test is not None and table.y is not None and y_test.ndim == table.y.ndim == 1:
            _check_labels(y_test, np.unique(table.y))
        progress.say("compiling kernels (first run only) ...")
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
            None if y is None else _measure(model, X, y)[0] / len(y)
            for X, y in ((table.X, table.y), (X_test, y_test))
        ]
    result = {
        "data": data,
        **_sizes(table, y_test),
        **_fitted(model),
        "train_accuracy": accuracies[0],
        "test_accuracy": accuracies[1],
        "model": out,
        "plot": plot,
        "notes": list(table.notes),
    }
    if out is not None:
        if (
            table.feature_names is not None and data not in readers.EMBEDDED
        ):  # kept for `predict` to see that a column has moved
            model.feature_names_in_ = np.array(table.feature_names, dtype=object)
        model.save(out)
    if plot is not None:
        title = f"{Path(data).name}: {result['rows']:,} rows × {result['features']:,} features, C = {C:g}"
        _draw(plot, model, table._replace(X_test=X_test, y_test=y_test), title)
    print_json(result) if as_json else _print_fit(result, table.class_names)


@app.command()
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
            callback=_ends_in(".csv", ".npy", ".npz"),
            help="Write here (.csv, .npy, .npz), not to stdout.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Label the rows of DATA (of its test part, if it has one); COLUMN of a table is left out."""
    if out is not None:
        model_file.check_writable(out)
    fitted = _load(model)
    table = readers.read(data, target=target, labelled=False, n_features=fitted.n_features_in_)
    X, _ = _test_part(table)
    _check_width(data, X, fitted.n_features_in_, hint=target is None)
    _check_names(data, table, fitted)
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


@app.command()
@says_failures
def score(model: Model, data: Data, target: Target = None, as_json: AsJson = False) -> None:
    """Say how well MODEL labels DATA (its test part, if it has one): accuracy and mean log-loss."""
    fitted = _load(model)
    table = readers.read(data, target=target, n_features=fitted.n_features_in_)
    X, y = _test_part(table)
    _check_width(data, X, fitted.n_features_in_)
    _check_names(data, table, fitted)
    if y is None:
        raise ValueError(f"{data!r} has no labels for its test part; there is nothing to score against")
    right, log_loss = _measure(fitted, X, y)
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


@app.command()
@says_failures
def info(model: Model, as_json: AsJson = False) -> None:
    """Say what MODEL is: classes, shape, penalty, how it was fitted and by which versions."""
    fitted = _load(model)
    _, header = model_file.load(model)
    result = {
        "model": model,
        "classes": fitted.classes_.tolist(),
        "features": fitted.n_features_in_,
        "coef_shape": list(fitted.coef_.shape),
        "dtype": str(fitted.coef_.dtype),
        "loss": fitted.loss,
        "C": fitted.C,
        "solver": fitted.solver_,
        "iterations": int(np.max(fitted.n_iter_)),
        "objective": fitted.objective_,
        "duality_gap": fitted.duality_gap_,
        "written_by": header["written_by"],
    }
    if as_json:
        print_json(result)
        return
    versions = ", ".join(f"{name} {version}" for name, version in header["written_by"].items())
    print_rows(
        ("model", model),
        ("classes", listed(fitted.classes_)),
        ("features", f"{fitted.n_features_in_:,}"),
        ("coefficients", f"{' × '.join(map(str, fitted.coef_.shape))} {fitted.coef_.dtype}"),
        ("loss, C", f"{fitted.loss}, {fitted.C:g}"),
        ("solver", f"{fitted.solver_}   {result['iterations']:,} iterations"),
        ("objective", f"{fitted.objective_:.8g} nats"),
        ("duality gap", nats(fitted.duality_gap_)),
        ("written by", versions),
    )


def _sizes(table: readers.Table, y_test: NDArray[Any] | None) -> dict[str, Any]:
    n_rows, n_features = table.X.shape
    return {"rows": n_rows, "features": n_features, "test_rows": None if y_test is None else len(y_test)}


def _fitted(model: Any) -> dict[str, Any]:
    """Say how a fit went, in the names of the JSON output."""
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


def _load(path: str) -> Any:
    from fastsoftmax.estimator import SoftmaxRegression

    return SoftmaxRegression.load(path)


def _test_part(table: readers.Table) -> tuple[Any, NDArray[Any] | None]:
    return (table.X, table.y) if table.X_test is None else (table.X_test, table.y_test)


def _check_width(data: str, X: Any, n_features: int, hint: bool = False) -> None:
    if X.shape[1] != n_features:
        advice = "; is one of them the label? say which with --target" if hint else ""
        advice = advice if X.shape[1] == n_features + 1 else ""
        raise ValueError(f"{data!r} has {X.shape[1]} features, the model takes {n_features}{advice}")


def _check_names(data: str, table: readers.Table, model: Any) -> None:
    """Refuse columns that the model knows at another place; names that it does not know are let pass."""
    names = model.__dict__.pop("feature_names_in_", ())  # scikit-learn would warn of an X without names
    at = {str(name): j for j, name in enumerate(names)}
    for j, name in enumerate(table.feature_names or ()):
        if at.get(name, j) != j:
            raise ValueError(f"{data!r} has feature {name!r} at place {j}, the model at place {at[name]}")


def _check_labels(y: NDArray[Any], classes: NDArray[Any]) -> None:
    """Refuse labels that a model has no probability for: the log-loss of such a row is infinite."""
    if (classes.dtype.kind in "biuf") != (y.dtype.kind in "biuf"):
        raise ValueError(f"the test labels are of dtype {y.dtype}, the model's classes of {classes.dtype}")
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"the model does not know these labels of the test data: {listed(unknown)}")


def _measure(model: Any, X: Any, y: NDArray[Any]) -> tuple[int, float]:
    """Return how many rows are labelled right, and the mean over the rows of −ln p(label), in nats."""
    classes = np.asarray(model.classes_)
    classes = classes if classes.dtype.kind in "biufU" else classes.astype(str)
    if y.ndim == 1:
        _check_labels(y, classes)
    right, total = 0, 0.0
    for start in range(0, len(y), _BLOCK):
        block, label = X[start : start + _BLOCK], y[start : start + _BLOCK]
        if label.ndim == 2 and model.loss == "sigmoid":
            logits = np.asarray(model.decision_function(block), dtype=np.float64)
            right += int(((logits > 0) == (label > 0.5)).all(axis=1).sum())
            total += float((np.logaddexp(0, logits) - label * logits).sum())
            continue
        log_proba = np.asarray(model.predict_log_proba(block), dtype=np.float64)
        at = np.searchsorted(classes, label) if label.ndim == 1 else label.argmax(axis=1)
        right += int((log_proba.argmax(axis=1) == at).sum())
        share = np.eye(len(classes))[at] if label.ndim == 1 else label
        total -= float(np.where(share > 0, share * log_proba, 0).sum())
    return right, total / len(y)


def _draw(path: str, model: Any, table: readers.Table, title: str) -> None:
    from fastsoftmax.plot import overview

    parts = table._asdict()
    X, y, _ = parts.pop("X"), parts.pop("y"), parts.pop("notes")
    picture, figure = io.BytesIO(), overview(model, X, y, **parts, title=title)
    figure.savefig(picture, format=Path(path).suffix[1:].lower())
    with model_file.replacing(path) as file:
        file.write(picture.getbuffer())


def _write(path: str, name: str, values: NDArray[Any], classes: list[str]) -> None:
    with model_file.replacing(path) as file:
        match Path(path).suffix.lower():
            case ".npy":
                np.save(file, values, allow_pickle=False)
            case ".npz":
                np.savez(file, allow_pickle=False, **{name: values, "classes": np.array(classes)})
            case _:
                for text in csv_text(values, classes if values.ndim == 2 else None):
                    file.write(text.encode())


def _print_fit(result: dict[str, Any], class_names: tuple[str, ...] | None) -> None:
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
