"""How well a model labels rows whose labels are known, and which classes it takes for which."""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.cli.matching import check_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Array
    from fastsoftmax.data.blocks.block import Block
    from fastsoftmax.data.blocks.row_set import RowSet
    from fastsoftmax.data.readers import Features
    from fastsoftmax.estimator import SoftmaxRegression

_BLOCK_ROWS = 4096  # measured at a time
# Pairs of classes that are said to be confused.
MOST_IN_JSON = 20
MOST_IN_WORDS = 3
BINS = 10  # of probabilities


class Measured(NamedTuple):
    """What a model makes of rows: sums over them, which add up.

    Attributes
    ----------
    n_rows, right : int
        The numbers of rows and of those labelled right.
    loss : float
        The sum of −ln p(label), in nats.
    by_class : Counter
        The number of rows of each class, by its place among the classes; empty for several labels a row.
    confused : Counter
        The number of rows of a class that are taken for another, by both places.
    sure : Counter
        Of the rows whose likeliest class has a probability in the b-th of BINS equal parts: how many they are
        ("rows", b), how many are labelled right ("right", b), the sum of the probabilities ("proba", b).
        Empty for several labels a row.
    """

    n_rows: int
    right: int
    loss: float
    by_class: Counter[int]
    confused: Counter[tuple[int, int]]
    sure: Counter[tuple[str, int]]

    @property
    def log_loss(self) -> float:
        """The mean of −ln p(label), in nats."""
        return self.loss / max(1, self.n_rows)

    def and_of(self, other: Measured) -> Measured:
        """Return the sums over these and other rows."""
        return Measured(
            self.n_rows + other.n_rows,
            self.right + other.right,
            self.loss + other.loss,
            self.by_class + other.by_class,
            self.confused + other.confused,
            self.sure + other.sure,
        )


NOTHING = Measured(0, 0, 0.0, Counter(), Counter(), Counter())


def measure(model: SoftmaxRegression, X: Features, y: Array) -> Measured:
    """Return what a model makes of rows (n, d) with labels (n,), or with targets (n, K)."""
    classes = np.asarray(model.classes_)
    classes = classes if classes.dtype.kind in "biufU" else classes.astype(str)
    if y.ndim == 1:
        check_labels(y, classes)
    elif y.shape[1] != len(classes):
        raise ValueError(
            f"the labels are a matrix of {y.shape[1]} columns, the model has {len(classes)} classes"
        )
    order = np.argsort(classes)  # those of soft labels in a frame stand in the order of its columns
    found = NOTHING
    for start in range(0, len(y), _BLOCK_ROWS):
        block, label = X[start : start + _BLOCK_ROWS], y[start : start + _BLOCK_ROWS]
        if label.ndim == 2 and model.loss == "sigmoid":
            found = found.and_of(_several_labels(model, block, label))
            continue
        log_proba = np.asarray(model.predict_log_proba(block), dtype=np.float64)
        at = order[np.searchsorted(classes, label, sorter=order)] if label.ndim == 1 else label.argmax(axis=1)
        target = None if label.ndim == 1 else label
        found = found.and_of(_one_label(log_proba, at, target))
    return found


def _several_labels(model: SoftmaxRegression, X: Features, y: Array) -> Measured:
    """Return what a sigmoid for each label makes of rows: right are those with all labels right."""
    logits = np.asarray(model.decision_function(X), dtype=np.float64)
    right = int(((logits > 0) == (y > 0.5)).all(axis=1).sum())
    loss = float((np.logaddexp(0, logits) - y * logits).sum())
    return Measured(len(y), right, loss, Counter(), Counter(), Counter())


def _one_label(log_proba: Array, at: Array, target: Array | None = None) -> Measured:
    """Return what is made of rows by log-probabilities (n, K): of classes `at`, or of soft targets (n, K)."""
    taken_for = log_proba.argmax(axis=1)
    wrong = np.flatnonzero(taken_for != at)
    if target is None:
        loss = -float(log_proba[np.arange(len(at)), at].sum())
    else:
        loss = -float(np.where(target > 0, target * log_proba, 0).sum())
    confused = Counter(zip(at[wrong].tolist(), taken_for[wrong].tolist(), strict=True))
    of_class = Counter(at.tolist())
    sure = _sure(np.exp(log_proba[np.arange(len(at)), taken_for]), taken_for == at)
    return Measured(len(at), len(at) - len(wrong), loss, of_class, confused, sure)


def _sure(proba: Array, is_right: Array) -> Counter[tuple[str, int]]:
    """Return `Measured.sure` of rows by the probability of their likeliest class (n,)."""
    part = np.minimum((BINS * proba).astype(np.intp), BINS - 1)
    sums = {"rows": None, "right": is_right, "proba": proba}
    return Counter(
        {
            (name, b): number
            for name, weights in sums.items()
            for b, number in enumerate(np.bincount(part, weights, BINS).tolist())
            if number
        }
    )


def measure_rows(model: SoftmaxRegression, rows: RowSet, *, weighted: bool = False) -> Measured:
    """Return what a model makes of rows that are read by blocks.

    One reading; the next blocks are read while one is measured. Raises ValueError, naming file and row, for
    a label that is none of the model's. `weighted` leaves out rows whose weight is zero.
    """
    from fastsoftmax.estimator import streamed_prediction
    from fastsoftmax.runtime.read_ahead import read_ahead

    plain = streamed_prediction.without_names(model, rows)
    with read_ahead(functools.partial(streamed_prediction.checked, rows, model.n_features_in_)) as blocks:
        return measure_blocks(plain, blocks, weighted=weighted)


def measure_blocks(model: SoftmaxRegression, blocks: Iterator[Block], *, weighted: bool = False) -> Measured:
    """Return what `measure_rows` does, of blocks."""
    from fastsoftmax.contracts.storages import storage_of
    from fastsoftmax.data.blocks.labels import Encoder
    from fastsoftmax.data.blocks.row_set import as_array

    encoder = Encoder(np.asarray(model.classes_))
    found = NOTHING
    for block in blocks:
        chosen = np.arange(block.n_rows)
        if weighted and block.weight is not None:
            chosen = np.flatnonzero(block.weight > 0)
        if not len(chosen):
            continue
        whole = len(chosen) == block.n_rows
        X = as_array(block.X if whole else storage_of(block.X).take(block.X, chosen))
        if isinstance(block.y, np.ndarray) and block.y.ndim == 2 and block.y.shape[1] > 1:
            found = found.and_of(measure(model, X, block.y[chosen]))
            continue
        log_proba = np.asarray(model.predict_log_proba(X), dtype=np.float64)
        found = found.and_of(_one_label(log_proba, encoder.codes(block)[chosen]))
    return found


def confusions(found: Measured, classes: Any, most: int) -> list[dict[str, Any]]:
    """Return the classes that are most often taken for another, in the names of the JSON output.

    At most `most` pairs: label, what it is taken for, in how many rows, and of how many of that label. By the
    number of rows, then in the order of the classes.
    """
    labels = np.asarray(classes).tolist()
    pairs = sorted(found.confused.items(), key=lambda each: (-each[1], each[0]))[:most]
    return [
        {"label": labels[is_], "taken_for": labels[taken], "rows": n, "of": found.by_class[is_]}
        for (is_, taken), n in pairs
    ]


def said_confused(pairs: list[dict[str, Any]], names: dict[Any, str] | None = None) -> list[tuple[str, str]]:
    """Return the first confusions as lines of a table; `names` are those of labels that have any.

    Examples
    --------
    >>> said_confused([{"label": 8, "taken_for": 1, "rows": 3, "of": 35}])
    [('most confused', '8 taken for 1   3 of 35 rows')]
    """
    known = names or {}

    def named(label: Any) -> str:
        return str(known.get(label, label))

    told = [f"{named(each['label'])} taken for {named(each['taken_for'])}" for each in pairs[:MOST_IN_WORDS]]
    width = max(map(len, told), default=0)
    return [
        ("" if i else "most confused", f"{line:<{width}}   {each['rows']:,} of {each['of']:,} rows")
        for i, (line, each) in enumerate(zip(told, pairs, strict=False))
    ]
