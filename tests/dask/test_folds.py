"""Law: a cross-validation elsewhere fits and scores the rows of its folds as fits of these rows alone do."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV, on_workers
from fastsoftmax.sources.folds import Fold
from tests.dask.problems import MEMORY, N, arrays, on_one_machine, problem

CS, FOLDS = [0.01, 1.0], 3
OPTIONS = {"Cs": CS, "cv": FOLDS, "scoring": "neg_log_loss", "use_legacy_attributes": False, "tol": 1e-8}


@pytest.mark.parametrize(("case", "options"), [
    ({"sparse": True}, {"class_weight": "balanced"}), ({"n_classes": 2}, {}), ({}, {"multi_class": "ovr"}),
], ids=str)  # fmt: skip
def test_the_folds_are_those_of_separate_fits(case, options):
    from sklearn.metrics import log_loss

    X, y, w = problem(**case)
    there = SoftmaxRegressionCV(**OPTIONS, **options).fit(on_workers(*arrays(X, y, w), memory=MEMORY))
    streams = SoftmaxRegressionCV(**OPTIONS, **options).fit(on_one_machine(X, y, w))
    assert there.coefs_paths_.tobytes() == streams.coefs_paths_.tobytes()
    assert there.scores_.tobytes() == streams.scores_.tobytes()
    weight = w
    if options.get("class_weight"):  # those of all rows
        totals = {k: w[y == k].sum() for k in np.unique(y)}
        weight = w * np.array([w.sum() / (len(totals) * totals[k]) for k in y])
        options = {}
    for number in range(FOLDS):
        held_out = Fold(number, FOLDS, False).has(np.arange(N))
        assert N / FOLDS / 2 < held_out.sum() < N / FOLDS * 2
        for j, C in enumerate(CS):
            model = SoftmaxRegression(C=C, tol=1e-10, **options)
            model.fit(X[~held_out], y[~held_out], weight[~held_out])
            found = there.coefs_paths_[number, 0, j]
            np.testing.assert_allclose(found[:, :-1], model.coef_, atol=1e-3)
            expected = -log_loss(y[held_out], model.predict_proba(X[held_out]), sample_weight=w[held_out])
            assert there.scores_[number, 0, j] == pytest.approx(expected, abs=1e-4)
    assert CS[int(there.scores_.sum(axis=0).argmax())] == there.C_
    assert there.duality_gap_ <= 1e-8 * there.objective_


def test_what_takes_rows_in_memory_is_said():
    rows = on_workers(*arrays(*problem()), memory=MEMORY)
    for options, said in (
        ({"cv": [([0], [1])]}, "number of folds"),
        ({"scoring": "roc_auc"}, "scoring"),
        ({"standardize": True}, "standardize"),
    ):
        with pytest.raises(ValueError, match=said):
            SoftmaxRegressionCV(**options).fit(rows)


def test_folds_part_the_rows():
    parts = [Fold(number, 4, False) for number in range(4)]
    assert np.sum([each.has(np.arange(1000)) for each in parts], axis=0).tolist() == [1] * 1000
    assert parts[1].count(1000) == 1000 - Fold(1, 4, True).count(1000)
