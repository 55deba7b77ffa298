"""What the command `fit` says of a fit: as JSON, and as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.cli.console import listed, nats, print_rows

if TYPE_CHECKING:
    from fastsoftmax.data.readers import Table
    from fastsoftmax.estimator import SoftmaxRegression


def summary(table: Table, model: SoftmaxRegression) -> dict[str, Any]:
    """Return how large a data set is and how a fit went, in the names of the JSON output."""
    n_rows, n_features = table.X.shape
    last = model.history_[-1]
    return {
        "rows": n_rows,
        "features": n_features,
        "test_rows": None if table.y_test is None else len(table.y_test),
        "target": table.target,
        "feature_names": None if table.feature_names is None else list(table.feature_names),
        "class_labels": np.asarray(model.classes_).tolist(),
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


def print_fit(result: dict[str, Any], table: Table) -> None:
    """Print the result of a fit as a table."""
    names = table.class_names
    if names is None or len(names) != result["classes"]:
        names = tuple(map(str, result["class_labels"]))
    named = listed(names).removesuffix(f" ({len(names)})")
    tested = "no test data" if result["test_accuracy"] is None else f"{result['test_accuracy']:.2%}"
    tested += "" if result["test_rows"] is None else f"   of {result['test_rows']:,} rows"
    print_rows(
        ("data", f"{result['data']}   {result['rows']:,} rows × {result['features']:,} features"),
        *(("", note) for note in result["notes"]),
        *_taken(table),
        ("classes", f"{result['classes']}   {named}"),
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


def _taken(table: Table) -> tuple[tuple[str, str], ...]:
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
