"""The command `fit`: a model of a data set, tested, saved and drawn."""

from __future__ import annotations

import copy
import io
import time
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fastsoftmax.cli import data_sets, html_report, options, streaming
from fastsoftmax.cli.choosing import Choosing, chosen, report
from fastsoftmax.cli.coefficients import largest
from fastsoftmax.cli.console import Progress, agreed, can_ask, one_line, print_json, says_failures
from fastsoftmax.cli.fit_report import print_fit, summary
from fastsoftmax.cli.matching import facts
from fastsoftmax.cli.options import AsJson, Data, Target, Threads  # noqa: TC001  (typer reads annotations)
from fastsoftmax.cli.reading import Meter
from fastsoftmax.cli.streaming import Storage
from fastsoftmax.data import readers
from fastsoftmax.persistence import container

if TYPE_CHECKING:
    from fastsoftmax.cli.data_sets import DataSet
    from fastsoftmax.cli.parts import Reached
    from fastsoftmax.estimator import SoftmaxRegression
    from fastsoftmax.estimator.cross_validation import SoftmaxRegressionCV

# Formats that a model file is not.
_NO_MODEL = (
    *(".csv", ".tsv", ".txt", ".npy", ".npz", ".parquet", ".svm", ".libsvm", ".gz", ".zip", ".h5"),
    *(".json", ".pkl", ".pickle", ".onnx", ".pt", ".png", ".pdf", ".svg", ".jpg", ".jpeg", ".py"),
    *(".html", ".htm"),
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
        typer.Option(
            "--test",
            "--valid",
            metavar="DATA",
            help="Data to test on, that the fit does not see (default: the test part of DATA, if any).",
        ),
    ] = None,
    test_size: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            callback=options.fraction,
            help="Hold out this part of each class as test data (0.2); of all rows, if read by blocks.",
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
        float | None,
        typer.Option(
            "--C", callback=options.positive, help="Inverse strength of the penalty (1); inf: none."
        ),
    ] = None,
    l1_ratio: options.Ratios = None,
    cv: options.Folds = None,
    selection: options.Selections = None,
    scoring: options.Scoring = None,
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
            help="Draw the falling loss here, and what suits the data; with --cv scores and coefficients "
            "against C (needs matplotlib).",
        ),
    ] = None,
    html: Annotated[
        str | None,
        typer.Option(
            "--report",
            metavar="FILE.html",
            callback=options.ends_in(".html", ".htm"),
            help="Write a page here: data, fit, certificate, confusions, calibration, coefficients.",
        ),
    ] = None,
    solver: Annotated[str, typer.Option(help="As SoftmaxRegression takes it.")] = "auto",
    tol: Annotated[
        float, typer.Option(callback=options.positive, help="Relative distance from the optimum to stop at.")
    ] = 1e-6,
    max_iter: Annotated[int, typer.Option(min=1, help="Most iterations.")] = 1000,
    max_seconds: Annotated[
        float | None,
        typer.Option(callback=options.positive, help="End the fit after this time, with the gap it reached."),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Write the state of the fit here: after a kill it goes on from it."
        ),
    ] = None,
    memory: options.Memory = None,
    cache: options.Cache = None,
    no_cache: options.NoCache = False,
    layer: options.Layer = None,
    loss: Annotated[Loss, typer.Option(help="softmax; sigmoid for a 0/1 matrix of labels.")] = Loss.softmax,
    multi_class: Annotated[
        MultiClass, typer.Option(help="ovr: each class against all others, by a sigmoid of its own.")
    ] = MultiClass.multinomial,
    standardize: Annotated[
        bool, typer.Option("--standardize", help="Penalise the coefficients of standardised columns.")
    ] = False,
    top: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Say which N columns weigh most for each class."),
    ] = None,
    n_threads: Threads = None,
    as_json: AsJson = False,
) -> None:
    """Fit a model to DATA and say how good it is."""
    for path in (out, plot, html, checkpoint):
        if path is not None:
            container.check_writable(path)
    if plot is not None:
        from fastsoftmax.plot import require_matplotlib

        require_matplotlib()  # to be said before the fit and not after
    if test is not None and test_size is not None:
        raise typer.BadParameter("--test and --test-size exclude each other")
    choosing = Choosing(C, l1_ratio, cv, selection, scoring)
    choosing.check(checkpoint, max_seconds)
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
    storage = Storage(memory, cache, no_cache, layer)
    with Progress() as progress:
        meter = Meter(progress)
        meter.say(f"reading {streaming.joined(data)} ...")
        from fastsoftmax.estimator import SoftmaxRegression  # seconds, which are no part of the reading's

        table = data_sets.opened(data, request, storage, test=test, test_size=test_size, meter=meter)
        model = SoftmaxRegression(
            C=choosing.strength,
            l1_ratio=choosing.l1_ratio,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            max_seconds=max_seconds,
            loss=loss.value,
            multi_class=multi_class.value,
            class_weight=None if class_weight is None else class_weight.value,
            standardize=standardize,
            n_threads=n_threads,
            checkpoint=checkpoint,
            callbacks=[meter.record],
            keep_on_interrupt=can_ask(),
        )
        validated = interrupted = None
        if cv is None:
            with meter.running("fitting"):
                interrupted = _interrupted(model, table)
    if cv is not None:  # which has a line of its own
        began = time.perf_counter()
        validated = chosen(choosing, model, table)
        seconds = time.perf_counter() - began
        model = validated.best_estimator_
    if interrupted is not None and not agreed(f"fastsoftmax: {interrupted} Go on with that model?"):
        raise KeyboardInterrupt
    if cv is None:
        seconds = meter.seconds if table.rows is not None else model.history_[-1].seconds
    plain = copy.copy(model)
    plain.__dict__.pop("feature_names_in_", None)  # columns were chosen by name; scikit-learn would warn
    if out is not None:  # before the test, which may find a label that no model knows
        _save(out, model, table)
    with Progress() as progress, Meter(progress).running("testing"):
        train, tested = _tested(plain, table, out)
    result = {**summary(table, model, train, tested), **report(validated), "seconds": seconds}
    result |= {"model": out, "plot": plot, "report": html}
    if top is not None:
        result["top"] = largest(model, table.drawn()["X"], table.about.feature_names, top)
    if plot is not None:
        name = Path(table.about.name).name
        title = f"{name}: {result['rows']:,} rows × {result['features']:,} features, C = {model.C:g}"
        _draw(plot, plain, validated, table, title)
    if html is not None:
        weights = largest(model, table.drawn()["X"], table.about.feature_names, html_report.FEATURES)
        with container.replacing(html) as file:
            file.write(html_report.page(result, model, tested or train, weights, table.about).encode())
    print_json(result) if as_json else print_fit(result, table.about)


def _interrupted(model: SoftmaxRegression, table: DataSet) -> str | None:
    """Fit the model; return what is to be said of it if that was interrupted, and else None."""
    from fastsoftmax.estimator.interrupts import InterruptedFit

    X, y, weight = table.given
    with warnings.catch_warnings():
        warnings.simplefilter("error", InterruptedFit)
        try:
            model.fit(X, y, sample_weight=weight)
        except InterruptedFit as warning:  # raised after the last point has been kept
            return one_line(warning)
    return None


def _tested(model: SoftmaxRegression, table: DataSet, out: str | None) -> tuple[Reached, Reached | None]:
    """Return the accuracies on the rows of the fit and on those to test on.

    Where those cannot be tested on, the error says that the model is not lost.
    """
    train = table.train.reached(model)
    try:
        return train, None if table.test is None else table.test.reached(model)
    except ValueError as error:
        saved = "" if out is None else f" (the model is fitted, and saved in {out!r})"
        raise ValueError(f"{error}{saved}") from error


def _save(path: str, model: SoftmaxRegression, table: DataSet) -> None:
    """Write a model file, with what `predict` needs to see of the data: names, labels, first index."""
    about = table.about
    if about.feature_names is not None and about.name not in readers.EMBEDDED:
        model.feature_names_in_ = np.array(about.feature_names, dtype=object)
    model._table = facts(about)
    model.save(path)


def _draw(
    path: str,
    model: SoftmaxRegression,
    validated: SoftmaxRegressionCV | None,
    table: DataSet,
    title: str,
) -> None:
    """Draw a fit, or a cross-validation, into a file, as the suffix of its name says."""
    from fastsoftmax.plot import cross_validation, overview

    picture = io.BytesIO()
    about = table.about
    names: dict[str, Any] = {
        "class_names": about.class_names,
        "feature_names": about.feature_names,
        "title": title,
    }
    figure = (
        overview(model, **table.drawn(), **names)
        if validated is None
        else cross_validation(validated, **names)
    )
    figure.savefig(picture, format=Path(path).suffix[1:].lower())
    with container.replacing(path) as file:
        file.write(picture.getbuffer())
