"""Others that fit two classes from disk: scikit-learn's SGDClassifier by blocks, and Vowpal Wabbit.

Each gives points (seconds of training, passes over the rows, F), F by the function it is given. Evaluations
are not timed. Both know the penalty: alpha of SGDClassifier is l2, and so is `--l2` of Vowpal Wabbit's steps;
its BFGS sums losses, so there it is l2 · n.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from bench.contenders import NotOfferedError
from bench.problems.disk import in_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import scipy.sparse as sp

    Value = Callable[[np.ndarray, float], float]
    Points = list[tuple[float, int, float]]

VW_CONSTANT = 11_650_396  # the hash of its intercept
VW_PASSES = (2, 4, 8, 16, 32, 64)  # its BFGS takes two at least
BLOCK = 50_000


def blocks(files: list[str]) -> Iterator[tuple[np.ndarray | sp.csr_array, np.ndarray]]:
    """Read shards of .npy or .npz files, and give them in blocks."""
    for name in files:
        X, y = in_memory([name])
        for start in range(0, X.shape[0], BLOCK):
            yield X[start : start + BLOCK], y[start : start + BLOCK]


def sgd(files: list[str], l2: float, average: bool, limit: float, value: Value) -> Points:
    """Give SGDClassifier's points, one a pass."""
    from sklearn.linear_model import SGDClassifier

    model = SGDClassifier(loss="log_loss", alpha=l2, average=average, random_state=0)
    seconds, points = 0.0, []
    while seconds < limit:
        start = time.perf_counter()
        for X, y in blocks(files):
            model.partial_fit(X, y, classes=[0, 1])
        seconds += time.perf_counter() - start
        points.append((seconds, len(points) + 1, value(model.coef_[0], float(model.intercept_[0]))))
    return points


def write_text(files: list[str], path: Path) -> None:
    """Write rows as Vowpal Wabbit reads them: the label, and the columns with their numbers."""
    with path.open("w") as out:
        for X, y in blocks(files):
            for i, label in enumerate(np.where(y == 1, 1, -1)):
                part = slice(X.indptr[i], X.indptr[i + 1])
                columns, entries = X.indices[part].tolist(), X.data[part].tolist()
                words = (f"{j}" if v == 1.0 else f"{j}:{v:g}" for j, v in zip(columns, entries))
                out.write(f"{label} | {' '.join(words)}\n")


def vowpal_wabbit(text: Path, n_features: int, options: str, l2: float, limit: float, value: Value) -> Points:
    """Give Vowpal Wabbit's points: of runs with ever more passes, the parsing of the text in each."""
    try:
        from vowpalwabbit import Workspace
    except ModuleNotFoundError as missing:
        raise NotOfferedError("vowpalwabbit is not installed") from missing
    bits = int(n_features).bit_length()  # one more than the columns take: the intercept has room of its own
    points: Points = []
    for n_passes in VW_PASSES:
        start = time.perf_counter()
        model = Workspace(
            f"-d {text} --loss_function logistic -b {bits} --l2 {l2!r} --passes {n_passes} -c -k "
            f"--holdout_off {options}",
            quiet=True,
        )
        model.run_parser()
        seconds = time.perf_counter() - start
        coef = np.array([model.get_weight(j, 0) for j in range(n_features)])
        intercept = model.get_weight(VW_CONSTANT & (2**bits - 1), 0)
        model.finish()
        points.append((seconds, n_passes, value(coef, intercept)))
        if seconds > limit:
            break
    return points
