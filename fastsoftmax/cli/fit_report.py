"""What the command `fit` says of a fit: as JSON, and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.cli.accuracy import MOST_IN_JSON, confusions, said_confused
from fastsoftmax.cli.coefficients import said_largest
from fastsoftmax.cli.console import listed, nats, print_rows
from fastsoftmax.contracts.sizes import in_bytes

if TYPE_CHECKING:
    from fastsoftmax.cli.data_sets import About, DataSet
    from fastsoftmax.cli.parts import Reached
    from fastsoftmax.estimator import SoftmaxRegression


def summary(
    table: DataSet, model: SoftmaxRegression, train: Reached, tested: Reached | None
) -> dict[str, Any]:
    """Return how large a data set is and how a fit went, in the names of the JSON output."""
    n_rows, n_features = table.shape
    about, rows = table.about, table.rows
    last = model.history_[-1]
    return {
        "data": about.name,
        "rows": n_rows,
        "features": n_features,
        "test_rows": None if tested is None else tested.n_rows,
        "target": about.target,
        "feature_names": None if about.feature_names is None else list(about.feature_names),
        "class_labels": np.asarray(model.classes_).tolist(),
        "classes": len(model.classes_),
        "C": model.C,
        "l1_ratio": model.l1_ratio,
        "coefficients": int(np.size(model.coef_)),
        "nonzero_coefficients": int(np.count_nonzero(model.coef_)),
        "loss": model.loss,
        "solver": model.solver_,
        "iterations": int(np.max(model.n_iter_)),
        "passes": last.passes,
        "seconds": last.seconds,
        "objective": model.objective_,
        "duality_gap": model.duality_gap_,
        "grad_norm": last.grad_norm,
        "readings": None if rows is None else rows.n_readings,
        "bytes_read": None if rows is None else rows.bytes_read,
        "train_accuracy": train.accuracy,
        "train_log_loss": train.measured.log_loss,
        "train_accuracy_rows": train.n_rows,
        "train_accuracy_is_sampled": train.is_sample,
        "test_accuracy": None if tested is None else tested.accuracy,
        "test_log_loss": None if tested is None else tested.measured.log_loss,
        "test_confusions": None
        if tested is None
        else confusions(tested.measured, model.classes_, MOST_IN_JSON),
        "notes": list(about.notes),
    }


def print_fit(result: dict[str, Any], about: About) -> None:
    """Print the result of a fit as a table."""
    names = about.class_names
    if names is None or len(names) != result["classes"]:
        names = tuple(map(str, result["class_labels"]))
    named_classes = dict(zip(result["class_labels"], names, strict=True))
    named = listed(names).removesuffix(f" ({len(names)})")
    tested = "no test data"
    if result["test_accuracy"] is not None:
        tested = f"{result['test_accuracy']:.2%}   of {result['test_rows']:,} rows"
        tested += f", log loss {result['test_log_loss']:.4g} nats"
    n_told = result["train_accuracy_rows"]
    sampled = f"   of a sample of {n_told:,} rows" if result["train_accuracy_is_sampled"] else ""
    print_rows(
        ("data", f"{result['data']}   {result['rows']:,} rows × {result['features']:,} features"),
        *(("", note) for note in result["notes"]),
        *_taken(about),
        ("classes", f"{result['classes']}   {named}"),
        *_chosen(result),
        ("solver", f"{result['solver']}   {result['iterations']:,} iterations, {result['passes']:,} passes"),
        *_read(result),
        ("time", f"{result['seconds']:.3g} s"),
        ("objective", f"{result['objective']:.8g} nats"),
        ("duality gap", nats(result["duality_gap"]))
        if result["duality_gap"] is not None
        else ("gradient norm", f"{result['grad_norm']:.2e}"),
        ("train accuracy", f"{result['train_accuracy']:.2%}{sampled}"),
        ("test accuracy", tested),
        *said_confused(result["test_confusions"] or [], named_classes),
        *said_largest(result.get("top", ()), named_classes),
        ("model", result["model"] or "not saved (--out MODEL saves it)"),
        *((("picture", result["plot"]),) if result["plot"] else ()),
        *((("report", result["report"]),) if result["report"] else ()),
    )


def _chosen(result: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the penalty and its score where they were chosen, and how sparse a sparse model is."""
    rows = []
    if result["cv_folds"] is not None:
        rows.append(
            ("C", f"{result['C']:.4g}   l1_ratio {result['l1_ratio']:g}, of {result['cv_folds']} folds")
        )
        error = result["cv_score_standard_error"]
        rows.append(("score", f"{result['cv_score']:.4g} ± {error:.2g}   {result['cv_scoring']}"))
    if result["l1_ratio"]:
        n_nonzero, n_all = result["nonzero_coefficients"], result["coefficients"]
        rows.append(("coefficients", f"{n_nonzero:,} of {n_all:,} are not zero"))
    return tuple(rows)


def _read(result: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return how often rows were read by blocks, and how much that was."""
    if result["readings"] is None:
        return ()
    of = "reading" if result["readings"] == 1 else "readings"
    return (("read", f"{result['readings']} {of}, {in_bytes(result['bytes_read'])}"),)


def _taken(table: About) -> tuple[tuple[str, str], ...]:
    """Return what was taken for label and features, where the file has columns or arrays to choose from."""
    if table.target is None:
        return ()
    rows = [("label", f"{table.target}")]
    if table.feature_names is not None:
        rows.append(("features", listed(table.feature_names)))
    elif table.left_out:
        rows = [("label", f"column {table.target}")]
        rows.append(("features", f"all columns but {listed(table.left_out)}"))
    return tuple(rows)
