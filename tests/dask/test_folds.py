"""Law: a cross-validation elsewhere fits and scores the rows of its folds as fits of these rows alone do."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss

from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV, on_workers
from fastsoftmax.sources import stratification
from tests.dask.problems import MEMORY, N, arrays, on_one_machine, problem

CS, FOLDS = [0.01, 1.0], 3
SOLVERS = "sampled-newton", "sampled-proximal"
OPTIONS = {"Cs": CS, "cv": FOLDS, "scoring": "neg_log_loss", "use_legacy_attributes": False, "tol": 1e-8}


@pytest.mark.parametrize(("case", "options"), [
    ({"sparse": True}, {"class_weight": "balanced"}),
    ({"n_classes": 2}, {"standardize": True}),
    ({}, {"multi_class": "ovr"}),
    ({}, {"l1_ratios": [0.0, 0.5], "tol": 1e-7}),
], ids=str)  # fmt: skip
def test_the_folds_are_those_of_separate_fits(case, options):
    X, y, w = problem(**case)
    X = X * np.linspace(0.5, 2.0, X.shape[1]) + 3.0 if options.get("standardize") else X
    given = OPTIONS | options
    there = SoftmaxRegressionCV(**given).fit(on_workers(*arrays(X, y, w), memory=MEMORY))
    streams = SoftmaxRegressionCV(**given, refit=False).fit(on_one_machine(X, y, w))
    assert there.coefs_paths_.tobytes() == streams.coefs_paths_.tobytes()
    assert there.scores_.tobytes() == streams.scores_.tobytes()
    weight, ratios = w, options.get("l1_ratios", [0.0])
    alone = {name: of for name, of in options.items() if name in ("multi_class", "standardize")}
    if options.get("class_weight"):  # those of all rows
        totals = {k: w[y == k].sum() for k in np.unique(y)}
        weight = w * np.array([w.sum() / (len(totals) * totals[k]) for k in y])
    for number, fold in enumerate(folds_of(y)):
        held_out = fold.held_out.has(np.arange(N), codes(y))
        for i, ratio in enumerate(ratios):
            for j, C in enumerate(CS):
                model = SoftmaxRegression(C=C, tol=1e-10, l1_ratio=ratio, **alone)
                model.fit(X[~held_out], y[~held_out], weight[~held_out])
                found = there.coefs_paths_[number, i, j]
                np.testing.assert_allclose(found[:, :-1], model.coef_, atol=1e-3)
                expected = -log_loss(y[held_out], model.predict_proba(X[held_out]), sample_weight=w[held_out])
                assert there.scores_[number, i, j] == pytest.approx(expected, abs=1e-4)
    chosen = [of.ravel().argmax() // len(CS) for of in there.scores_]
    assert set(streams.solver_.split(" and ")) == {SOLVERS[ratios[i] > 0.0] for i in chosen}
    best = np.unravel_index(int(there.scores_.sum(axis=0).argmax()), (len(ratios), len(CS)))
    assert CS[best[1]] == there.C_
    assert there.duality_gap_ <= given["tol"] * there.objective_


def codes(y):
    return np.unique(y, return_inverse=True)[1]


def folds_of(y, n_folds=FOLDS):
    """The folds of all rows, by a table of their classes and keys."""
    k = codes(y)
    n_bins = stratification.number_of_bins(k.max() + 1, n_folds)
    table = np.zeros((k.max() + 1, n_bins))
    np.add.at(table, (k, stratification.bins(np.arange(len(k)), n_bins)), 1.0)
    return stratification.stratified(table, n_folds)


def test_what_takes_rows_in_memory_is_said():
    X, y, w = problem()
    rows = on_workers(*arrays(X, y, w), memory=MEMORY)
    for options, said in (({"cv": [([0], [1])]}, "number of folds"), ({"scoring": "roc_auc"}, "scoring")):
        with pytest.raises(ValueError, match=said):
            SoftmaxRegressionCV(**options).fit(rows)


@pytest.mark.parametrize("n_folds", [2, 5, 70])
def test_folds_part_the_rows_of_each_class_evenly(n_folds):
    y = np.random.default_rng(0).choice(6, 30_000, p=[0.5, 0.4, 0.09, 0.0099, 0.00005, 0.00005])
    parts = folds_of(y, n_folds)
    each = np.array([part.held_out.has(np.arange(len(y)), codes(y)) for part in parts])
    np.testing.assert_array_equal(each.sum(axis=0), 1)
    for k, total in enumerate(np.bincount(codes(y))):
        sizes = each[:, codes(y) == k].sum(axis=1)
        n_bins = parts[0].n_bins
        assert abs(sizes - total / n_folds).max() <= max(2.0, 3.0 * total / n_bins)
        table = np.zeros((codes(y).max() + 1, n_bins))
        np.add.at(table, (codes(y), stratification.bins(np.arange(len(y)), n_bins)), 1.0)
        assert [part.held_out.summed(table)[k] for part in parts] == sizes.tolist()
        assert [part.summed(table)[k] for part in parts] == (total - sizes).tolist()


def test_classes_of_few_rows_are_named():
    X, y, w = problem()
    y = np.where(np.arange(N) < 2, "rare", y)
    with pytest.warns(UserWarning, match="2 rows"):
        SoftmaxRegressionCV(cv=3, Cs=[0.01], use_legacy_attributes=False).fit(on_one_machine(X, y, w))
    with pytest.raises(ValueError, match="n_splits"):
        SoftmaxRegressionCV(cv=N).fit(on_one_machine(X, y, w))
