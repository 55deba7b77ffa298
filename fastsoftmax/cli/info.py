"""The command `info`: what is in a model file."""

from __future__ import annotations

import numpy as np

from fastsoftmax.cli.console import listed, nats, print_json, print_rows, says_failures
from fastsoftmax.cli.matching import load_model
from fastsoftmax.cli.options import AsJson, Model  # noqa: TC001  (typer reads annotations)
from fastsoftmax.persistence import container


@says_failures
def info(model: Model, as_json: AsJson = False) -> None:
    """Say what MODEL is: classes, shape, penalty, how it was fitted and by which versions."""
    fitted, expected = load_model(model)
    _, header = container.load(model)
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
        "feature_names": None if expected.feature_names is None else list(expected.feature_names),
        "target": expected.target,
        "index_base": expected.index_base,
        "kernels": fitted.kernels_,
        "written_by": header["written_by"],
    }
    if as_json:
        print_json(result)
        return
    names = "" if expected.feature_names is None else f"   {listed(expected.feature_names)}"
    versions = ", ".join(f"{name} {version}" for name, version in header["written_by"].items())
    print_rows(
        ("model", model),
        *((("label", expected.target),) if expected.target is not None else ()),
        ("classes", listed(fitted.classes_)),
        ("features", f"{fitted.n_features_in_:,}{names}"),
        ("coefficients", f"{' × '.join(map(str, fitted.coef_.shape))} {fitted.coef_.dtype}"),
        ("loss, C", f"{fitted.loss}, {fitted.C:g}"),
        ("solver", f"{fitted.solver_}   {result['iterations']:,} iterations"),
        ("objective", f"{fitted.objective_:.8g} nats"),
        ("duality gap", nats(fitted.duality_gap_)),
        ("kernels", fitted.kernels_),
        ("written by", versions),
    )
