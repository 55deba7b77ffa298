"""Softmax objectives of boosting libraries: ours, one in NumPy, and a training with the built-in one.

NumPy's objective is written as the libraries' manuals do, in the memory order of the library: rows of float32
for XGBoost, columns of float64 for LightGBM, which takes float32 for results.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.contenders import OURS
from bench.contenders.threads import THREADS

if TYPE_CHECKING:
    from collections.abc import Callable

NUMPY, BUILT_IN = "NumPy", "built-in"
SEED = 21
LIBRARIES = ("xgboost", "lightgbm")
N_FEATURES = 20


def softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    """Give the softmax, by plain NumPy."""
    e = np.exp(scores - scores.max(axis=axis, keepdims=True))
    e /= e.sum(axis=axis, keepdims=True)
    return e


def of_xgboost(margins: np.ndarray, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give gradients and curvatures of margins (n, K), XGBoost's rule."""
    p = softmax(margins, 1)
    curvatures = np.maximum(2.0 * p * (1.0 - p), 1e-16)
    p[np.arange(len(p)), rows.get_label().astype(np.int64)] -= 1.0
    return p, curvatures


def of_lightgbm(scores: np.ndarray, rows: Any) -> tuple[np.ndarray, np.ndarray]:
    """Give gradients and curvatures of scores (n, K) that are columns, LightGBM's rule."""
    p = softmax(scores.T, 0)
    factor = len(p) / (len(p) - 1.0)
    curvatures = (factor * p * (1.0 - p)).astype(np.float32)
    p[rows.get_label().astype(np.int64), np.arange(p.shape[1])] -= 1.0
    return p.astype(np.float32).T, curvatures.T


def objectives(library: str, n_rows: int, n_classes: int) -> dict[str, Callable[[], Any]]:
    """Give a call of ours and of NumPy's, with what the library calls an objective with."""
    from fastsoftmax import boosting

    rng = np.random.default_rng(SEED)
    y = rng.integers(0, n_classes, n_rows)
    if library == "xgboost":
        import xgboost

        rows = xgboost.DMatrix(np.zeros((n_rows, 1), np.float32), label=y)
        scores = rng.standard_normal((n_rows, n_classes), dtype=np.float32)
        functions = {OURS: boosting.xgboost_objective(), NUMPY: of_xgboost}
    else:
        import lightgbm

        quiet = {"verbose": -1}
        rows = lightgbm.Dataset(rng.random((n_rows, 1)), label=y, params=quiet).construct()
        scores = rng.standard_normal((n_classes, n_rows)).T
        functions = {OURS: boosting.lightgbm_objective(), NUMPY: of_lightgbm}
    return {name: functools.partial(function, scores, rows) for name, function in functions.items()}


def trainings(library: str, n_rows: int, n_classes: int, n_trees: int) -> dict[str, Callable[[], Any]]:
    """Give a training with our objective and one with the built-in one, which return raw predictions."""
    from fastsoftmax import boosting

    rng = np.random.default_rng(SEED)
    X = rng.normal(size=(n_rows, N_FEATURES)).astype(np.float32)
    logits = X @ rng.normal(size=(N_FEATURES, n_classes)).astype(np.float32)
    y = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    if library == "xgboost":
        import xgboost

        rows = xgboost.DMatrix(X, label=y)
        options = {"num_class": n_classes, "base_score": 0.5, "nthread": THREADS}
        options |= {"objective": "multi:softprob", "seed": 0}

        def train(obj: Any) -> Any:
            booster = xgboost.train(options, rows, n_trees, obj=obj)
            return lambda: booster.predict(rows, output_margin=True)

        return {
            OURS: functools.partial(train, boosting.xgboost_objective()),
            BUILT_IN: functools.partial(train, None),
        }
    import lightgbm

    common = {"num_class": n_classes, "verbose": -1, "num_threads": THREADS, "boost_from_average": False}
    common |= {"deterministic": True, "force_col_wise": True}  # or it tries which is faster, each time
    rows = lightgbm.Dataset(X, label=y, params={"verbose": -1}, free_raw_data=False).construct()

    def grown(objective: Any) -> Any:
        booster = lightgbm.train(common | {"objective": objective}, rows, n_trees)
        return lambda: booster.predict(X, raw_score=True)

    return {
        OURS: functools.partial(grown, boosting.lightgbm_objective()),
        BUILT_IN: functools.partial(grown, "multiclass"),
    }


def differences(own: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...], tol: float) -> list[str]:
    """Say which of two contenders' arrays differ by more than a tolerance."""
    said = []
    for place, (a, b) in enumerate(zip(own, other, strict=True)):
        off = float(np.abs(np.subtract(a, b, dtype=np.float64)).max()) if a.shape == b.shape else np.inf
        if not off <= tol:
            said.append(f"array {place}: {off:.2g} from the other's")
    return said
