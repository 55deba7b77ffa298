"""Cross-validation with absolute values in the penalty: ours, one fit of ours, and scikit-learn's by saga.

10 C and 5 folds of SoftmaxRegressionCV, one fit of all rows with the C that it chooses, a path of 100 C and
one fit at its end take turns in one process; LogisticRegressionCV with "saga" follows once, at its defaults:
tol=1e-4, max_iter=100, and how far its last F is above ours is noted. Then once more, with the tol and
the epochs by which a single fit of its at that C comes as near to the minimum as ours; where that would take
more than LIMIT seconds it is left out. All on one thread, by processor time, which other work on the machine
changes little.
"""

from __future__ import annotations

import functools
import time
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

import bench.measure.numba_cache  # noqa: F401 - before anything imports Numba
from bench.contenders import OURS
from bench.measure.steps import Step, with_words
from bench.measure.timing import summary
from bench.problems.archives import archive, tfidf

if TYPE_CHECKING:
    from collections.abc import Callable

THEIRS, AS_FAR, ONE, PATH, END = "saga", "saga as far", "one fit", "path of 100 C", "fit at its end"
ROUNDS, FOLDS, EPOCHS = 1, 5, 100
TOLS, MOST_EPOCHS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8), 10_000  # of saga, until a fit is as near as ours
LIMIT = 600.0  # seconds, by the time of the run before and the epochs
TOL = 1e-6  # of F, for all of ours


class Subject(NamedTuple):
    """A set of rows, the C among which is chosen, and the l1_ratio."""

    name: str
    load: Callable[[], tuple[Any, Any]]
    Cs: Any
    l1_ratio: float


def digits() -> tuple[Any, Any]:
    """Give the digits, pixels from 0 to 1."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X / 16.0, y


def fashion() -> tuple[Any, Any]:
    """Give 2,000 pictures of Fashion-MNIST, pixels from 0 to 1."""
    z = archive("fashion_mnist")
    return z["X_train"][:2000] / 255.0, z["y_train"][:2000]


def newsgroups() -> tuple[Any, Any]:
    """Give 2,000 texts of 20 Newsgroups, by the weights of their words."""
    z = archive("newsgroups20")
    return tfidf(z, "train")[:2000].astype(np.float64), z["y_train"][:2000]


SUBJECTS = [
    Subject(f"{name}, l1_ratio {ratio:g}", load, Cs, ratio)
    for name, load, Cs in (
        ("digits", digits, np.logspace(-2.0, 2.0, 10)),
        ("fashion_mnist 2,000", fashion, np.logspace(-2.5, 0.5, 10)),
        ("newsgroups20 2,000", newsgroups, np.logspace(0.0, 2.0, 10)),
    )
    for ratio in (1.0, 0.5)
]


def steps(words: str) -> list[Step]:
    """Give a step for each subject whose name contains all the words."""
    return with_words([Step(s.name, functools.partial(measure, s)) for s in SUBJECTS], words)


def measure(subject: Subject) -> list[dict[str, Any]]:
    """Time a subject, and say how it came out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # theirs stops at its limit
        found = timed(subject)
    seconds = (f"{each['extra_info']['contender']} {each['stats']['median']:.1f} s" for each in found)
    print(f"{subject.name}: {', '.join(seconds)}", flush=True)
    return found


def timed(subject: Subject) -> list[dict[str, Any]]:
    """Let ours take turns, then theirs, and give each as one benchmark of a result."""
    from sklearn.linear_model import LogisticRegressionCV

    from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV

    X, y = subject.load()
    common = {
        "Cs": subject.Cs, "l1_ratios": (subject.l1_ratio,), "cv": FOLDS, "scoring": "neg_log_loss",
        "use_legacy_attributes": False,
    }  # fmt: skip
    ours = SoftmaxRegressionCV(**common, tol=TOL, n_threads=1)
    theirs = LogisticRegressionCV(**common, solver="saga", max_iter=EPOCHS, n_jobs=1)
    one = SoftmaxRegression(l1_ratio=subject.l1_ratio, tol=TOL, n_threads=1)
    end = float(subject.Cs[-1])
    path = np.logspace(np.log10(subject.Cs[0]), np.log10(end), 100)
    seconds: dict[str, list[float]] = {name: [] for name in (OURS, ONE, PATH, END)}
    for _ in range(ROUNDS):
        for name, run in (
            (OURS, lambda: ours.fit(X, y)),
            (ONE, lambda: one.set_params(C=ours.C_).fit(X, y)),
            (PATH, lambda: one.fit_path(X, y, path)),
            (END, lambda: one.set_params(C=end).fit(X, y)),
        ):
            seconds[name].append(took(run))
    seconds[THEIRS] = [took(lambda: theirs.fit(X, y))] * ROUNDS
    own = np.array(seconds[OURS])
    noted = {
        "C": ours.C_,
        "C of theirs": theirs.C_,
        "score": float(ours.scores_.mean(axis=0).max()),
        "nonzero": int(np.count_nonzero(ours.coef_)),
        "too_high": excess(theirs, X, y, subject.l1_ratio),
    }
    noted |= as_far(ours.C_, X, y, subject.l1_ratio)
    expected = seconds[THEIRS][0] * noted["epochs"] / EPOCHS
    if noted["as_far_too_high"] <= TOL and expected <= LIMIT:
        theirs.set_params(tol=noted["as_far_tol"], max_iter=noted["epochs"])
        seconds[AS_FAR] = [took(lambda: theirs.fit(X, y))] * ROUNDS
    return [
        {
            "name": f"{subject.name} {name}",
            "extra_info": {
                "family": "sparse-cv", "problem": subject.name, "dtype": "float64", "operation": "fit",
                "contender": name, "threads": 1, "rounds": len(times), "shape": [*X.shape],
                "in_turn": {} if name == OURS else {OURS: summary(np.array(times), own)},
            } | (noted if name == OURS else {}),
            "stats": {"median": float(np.median(times)), "min": min(times), "max": max(times)},
        }
        for name, times in seconds.items()
    ]  # fmt: skip


def as_far(C: float, X: Any, y: Any, l1_ratio: float) -> dict[str, Any]:
    """Return the tol and the epochs with which a single fit of saga is as near as ours, or the last tried."""
    from sklearn.linear_model import LogisticRegression

    one = LogisticRegression(C=C, l1_ratio=l1_ratio, solver="saga", max_iter=MOST_EPOCHS, random_state=0)
    for tol in TOLS:
        too_high = excess(one.set_params(tol=tol).fit(X, y), X, y, l1_ratio)
        if too_high <= TOL or one.n_iter_.max() >= MOST_EPOCHS:
            break
    return {"as_far_tol": tol, "epochs": int(one.n_iter_.max()), "as_far_too_high": too_high}


def took(run: Callable[[], Any]) -> float:
    """Return the seconds of processor time of a call."""
    began = time.process_time()
    run()
    return time.process_time() - began


def excess(model: Any, X: Any, y: Any, l1_ratio: float) -> float:
    """Return how far F of a model is above its minimum at the model's C, relative to that."""
    from sklearn.metrics import log_loss

    from fastsoftmax import SoftmaxRegression

    C = float(model.C_ if hasattr(model, "C_") else model.C)
    best = SoftmaxRegression(C=C, l1_ratio=l1_ratio, tol=1e-8).fit(X, y)
    size = np.abs(model.coef_).sum() * l1_ratio + 0.5 * (1.0 - l1_ratio) * np.square(model.coef_).sum()
    value = log_loss(y, model.predict_proba(X)) + size / (C * X.shape[0])
    return float(value / best.objective_ - 1.0)
