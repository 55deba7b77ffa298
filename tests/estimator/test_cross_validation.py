"""Law: cross-validation finds what LogisticRegressionCV finds at its most exact: scores, C and paths."""

from __future__ import annotations

import functools
import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, StratifiedKFold

from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV, load
from fastsoftmax.estimator import cv_grid, cv_results, folds
from fastsoftmax.objective import direct
from tests.problems import dataset

CS = [3.0, 0.02, 0.3]  # in no order, and not so weak that coefficients follow F from afar
# of coefficients, whose error is the root of that of F at tol = 1e-12, near the 1e-9 of theirs' gradient
ATOL = 1e-5
NEW = {"use_legacy_attributes": False, "l1_ratios": (0,)}


@functools.cache
def problem(name):
    """Rows, labels, row weights."""
    rng = np.random.default_rng(4)
    if name == "two":
        X, y = dataset("breast_cancer")
        X, y = X[::3, :7], y[::3]
    elif name == "strings":
        X, y = dataset("wine")
        X, y = X[:, :5], np.array(["rosé", "red", "white"])[y]
    elif name == "scaled":
        X, y = dataset("wine")
        X = (X[:, :5] - X[:, :5].mean(axis=0)) / X[:, :5].std(axis=0)
    elif name == "csr":
        dense = rng.normal(size=(150, 12)) * (rng.random((150, 12)) < 0.4)
        y = (dense[:, :4] * 2 + rng.gumbel(size=(150, 4))).argmax(axis=1)
        X = sp.csr_array(dense)
    else:
        X, y = dataset("iris")
    return X, y, rng.integers(0, 4, len(y)).astype(float)


def both(name, weighted=False, **options):
    X, y, weight = problem(name)
    given = {"sample_weight": weight} if weighted else {}
    options = {"Cs": CS, "use_legacy_attributes": True} | options
    ours = SoftmaxRegressionCV(tol=1e-12, **options).fit(X, y, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what changes in scikit-learn 1.10, and of last digits
        theirs = LogisticRegressionCV(
            tol=1e-9, max_iter=20_000, **{"scoring": None, "l1_ratios": None} | options
        ).fit(X, y, **given)
    return ours, theirs


def assert_same(ours, theirs):
    for name in ("C_", "l1_ratio_", "Cs_", "l1_ratios_", "scores_", "coefs_paths_", "coef_", "intercept_"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert type(a) is type(b), name
        if isinstance(b, dict):
            assert list(a) == list(b)
            a, b = np.stack(list(a.values())), np.stack(list(b.values()))
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape, name
        if b.dtype == object:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=0, atol=ATOL, err_msg=name)
    assert ours.n_iter_.shape == theirs.n_iter_.shape


@pytest.mark.parametrize("name", ["two", "three", "strings", "csr"])
@pytest.mark.parametrize("options", [{}, NEW], ids=["legacy", "new"])
def test_what_is_found(name, options):
    ours, theirs = both(name, **options)
    assert_same(ours, theirs)
    X, y, _ = problem(name)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=10 * ATOL)
    assert ours.score(X, y) == theirs.score(X, y)


OPTIONS = {
    "row weights": {"weighted": True},
    "balanced": {"class_weight": "balanced", "weighted": True},
    "weights of classes": {"class_weight": {"red": 3.0, "white": 0.5}},
    "no refit": {"refit": False, **NEW},
    "no refit, legacy": {"refit": False},
    "no intercept": {"fit_intercept": False},
    "ratios": {"l1_ratios": (0,)},
    "log loss": {"scoring": "neg_log_loss", "weighted": True},
    "area": {"scoring": "roc_auc_ovr"},
    "a splitter": {"cv": ShuffleSplit(3, random_state=0), "scoring": "neg_log_loss"},
    "three folds": {"cv": 3, "Cs": 4, "scoring": "neg_brier_score"},
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case):
    if case == "three folds":  # the largest C is 1e4
        ours, theirs = both("strings", **OPTIONS[case])
        assert ours.C_.tolist() == theirs.C_.tolist()
        np.testing.assert_allclose(ours.scores_["red"], theirs.scores_["red"], atol=1e-4)
    else:
        assert_same(*both("strings", **OPTIONS[case]))


@pytest.mark.parametrize("options", [{}, NEW, {"refit": False}], ids=["legacy", "new", "no refit"])
def test_ratios(options):
    X, y, _ = problem("scaled")  # of two classes: of more theirs is not the unique optimum
    options = {"Cs": [3.0, 0.1], "scoring": "neg_log_loss", "cv": 3} | options
    options["l1_ratios"] = np.array([1.0, 0.5, 0.0])
    ours = SoftmaxRegressionCV(tol=1e-12, **options).fit(X, y == 1)
    theirs = LogisticRegressionCV(
        solver="saga", tol=1e-8, max_iter=5000, **{"use_legacy_attributes": True} | options
    ).fit(X, y == 1)
    assert_same(ours, theirs)
    assert ours.best_estimator_.l1_ratio == np.ravel(ours.l1_ratio_)[0]


def test_liblinears_intercept():
    ours, theirs = both("two", solver="liblinear", intercept_scaling=3.0, **NEW)
    np.testing.assert_allclose(ours.coefs_paths_, theirs.coefs_paths_, atol=1e-3)  # theirs is not exact
    np.testing.assert_array_equal(ours.scores_, theirs.scores_)


@pytest.mark.parametrize("name", ["two", "three", "csr"])
@pytest.mark.parametrize("limit", ["MAX_SECONDS", "MAX_STEPS", "TAKEN_BYTES", "MAX_WEIGHTS"])
def test_ways_to_the_same_fits(name, limit, monkeypatch):
    """Side by side, by paths of single folds, by rows of weight zero, and what goes from one to the other."""
    X, y, _ = problem(name)
    options = {"Cs": [*CS, 1e3], "tol": 1e-10, **NEW}
    usual = SoftmaxRegressionCV(**options).fit(X, y)
    if limit in ("MAX_SECONDS", "TAKEN_BYTES"):
        monkeypatch.setattr(direct, "MAX_SECONDS", 0.0)
    if limit == "MAX_STEPS":
        monkeypatch.setattr(direct, "FEW_STEPS", 6)
    if limit in ("TAKEN_BYTES", "MAX_WEIGHTS"):
        monkeypatch.setattr(folds, limit, {"TAKEN_BYTES": 0, "MAX_WEIGHTS": 2 * X.shape[0]}[limit])
    other = SoftmaxRegressionCV(**options).fit(X, y)
    np.testing.assert_allclose(other.coefs_paths_, usual.coefs_paths_, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(other.scores_, usual.scores_)
    assert other.C_ == usual.C_


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("strings", {}),
        ("scaled", {"l1_ratios": (0.5, 1.0)}),
        ("csr", {"l1_ratios": (1.0,), "group_classes": True}),
        ("scaled", {"l1_ratios": (0.7,), "penalty_weights": [1.0, 0.0, 2.0, 1.0, 1.0], "cap": 0}),
        ("scaled", {"penalty_weights": [1.0, 0.5, 2.0, 1.0, 1.0]}),
    ],
)
def test_each_fit_is_that_of_its_training_rows(name, options, monkeypatch):
    X, y, weight = problem(name)
    options = dict(options)
    monkeypatch.setattr(folds, "TAKEN_BYTES", options.pop("cap", folds.TAKEN_BYTES))
    split = KFold(4, shuffle=True, random_state=1)
    model = SoftmaxRegressionCV(Cs=CS, cv=split, tol=1e-12, **NEW | options).fit(X, y, weight)
    ratios = options.pop("l1_ratios", (0.0,))
    for i, (inside, outside) in enumerate(split.split(y)):
        for r, ratio in enumerate(ratios):
            for j, C in enumerate(CS):
                one = SoftmaxRegression(C=C, tol=1e-12, l1_ratio=ratio, **options)
                one.fit(X[inside], y[inside], weight[inside])
                np.testing.assert_allclose(model.coefs_paths_[i, r, j, :, :-1], one.coef_, atol=ATOL)
                score = one.score(X[outside], y[outside], weight[outside])
                assert model.scores_[i, r, j] == pytest.approx(score)
    last = SoftmaxRegression(C=model.C_, tol=1e-12, l1_ratio=model.l1_ratio_, **options).fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, last.coef_, atol=ATOL)
    assert model.objective_ == pytest.approx(last.objective_, rel=1e-11)
    assert "penalty_weights" in options or model.duality_gap_ <= 1e-12 * model.objective_


@pytest.mark.parametrize("ratio", [0, 0.5])
def test_the_bits_do_not_depend_on_threads(ratio):
    X, y, _ = problem("three")
    given = {"Cs": 3} | NEW | {"l1_ratios": (ratio,)}
    found = [SoftmaxRegressionCV(n_threads=n, **given).fit(X, y).coefs_paths_ for n in (1, 2, 5)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def chosen(scores, Cs, selection, n_nonzero=None):
    """The place chosen of one l1_ratio, or of several."""
    scores = np.asarray(scores)
    scores = scores[:, np.newaxis] if scores.ndim == 2 else scores
    grid = cv_grid.Grid(np.asarray(Cs), np.zeros(scores.shape[1]), np.zeros(scores.shape[1]))
    zeros = np.zeros(scores.shape[1:]) if n_nonzero is None else np.asarray(n_nonzero)
    return cv_results.chosen(scores, grid, selection, zeros)


def test_one_standard_error():
    scores = np.array([[0.5, 0.8, 0.90, 0.85], [0.6, 0.9, 0.86, 0.9], [0.5, 0.82, 0.94, 0.8]])
    Cs = np.array([100.0, 0.1, 10.0, 1.0])
    assert chosen(scores, Cs, "best") == (0, 2)
    error = np.std([0.90, 0.86, 0.94], ddof=1) / np.sqrt(3)
    assert 0.9 - error > 0.85  # none but the best is so near
    assert chosen(scores, Cs, "one_standard_error") == (0, 2)
    scores[:, 2] += [0.1, -0.1, 0.0]
    error = np.std([1.0, 0.76, 0.94], ddof=1) / np.sqrt(3)
    assert 0.9 - error < min(0.84, 0.85)
    assert chosen(scores, Cs, "one_standard_error") == (0, 1)
    # of several l1_ratios the sparsest of their smallest C so near, and of equal ones the best
    two = np.stack((scores, scores - 0.01), axis=1)
    counts = [[9, 4, 9, 9], [9, 3, 1, 9]]
    assert chosen(two, Cs, "best", counts) == (0, 2)
    assert chosen(two, Cs, "one_standard_error", counts) == (1, 1)
    counts[1][1] = 4
    assert chosen(two, Cs, "one_standard_error", counts) == (0, 1)
    equal = np.ones((3, 2, 4))  # as scikit-learn: the first C, and of that the first l1_ratio
    assert chosen(equal, Cs, "best") == (0, 0)
    equal[:, 1, 0] += 0.5
    equal[:, 0, 1] += 0.5
    assert chosen(equal, Cs, "best") == (1, 0)
    assert chosen(np.full((3, 4), np.nan), Cs, "one_standard_error") == (0, 0)


def test_simpler_by_one_standard_error():
    X, y, _ = problem("strings")
    best, simple = (
        SoftmaxRegressionCV(Cs=40, scoring="neg_log_loss", selection=kind, **NEW).fit(X, y)
        for kind in ("best", "one_standard_error")
    )
    assert simple.C_ < best.C_
    mean, spread = best.scores_[:, 0].mean(axis=0), best.scores_[:, 0].std(axis=0, ddof=1) / np.sqrt(5)
    near = mean >= mean.max() - spread[mean.argmax()]
    assert best.Cs_[near].min() == simple.C_
    with pytest.raises(ValueError, match="takes refit=True"):
        SoftmaxRegressionCV(selection="one_standard_error", refit=False).fit(X, y)


@pytest.mark.parametrize("name", ["two", "three"])
def test_scorers_get_models_that_compute(name):
    """A scorer of one's own may ask for anything, of these rows and of others."""
    X, y, _ = problem(name)
    classes = np.unique(y)
    seen = []

    def own(model, rows, labels):
        z = model.decision_function(rows)
        logits = np.column_stack((np.zeros_like(z), z)) if z.ndim == 1 else z
        seen.append(model.C)
        np.testing.assert_allclose(model.predict_proba(rows), softmax(logits, axis=1), atol=1e-12)
        np.testing.assert_allclose(np.exp(model.predict_log_proba(rows)), softmax(logits, axis=1), atol=1e-12)
        np.testing.assert_array_equal(model.predict(rows), classes[logits.argmax(axis=1)])
        half = rows[::2].copy()
        np.testing.assert_allclose(model.predict_proba(half), model.predict_proba(rows)[::2], atol=1e-12)
        np.testing.assert_array_equal(model.predict(half), model.predict(rows)[::2])
        np.testing.assert_allclose(
            model.predict_log_proba(half), model.predict_log_proba(rows)[::2], atol=1e-9
        )
        np.testing.assert_allclose(model.decision_function(half), z[::2], atol=1e-9)
        return -log_loss(labels, model.predict_proba(rows), labels=classes)

    model = SoftmaxRegressionCV(Cs=CS, scoring=own, **NEW).fit(X, y)
    assert seen == 5 * CS
    named = SoftmaxRegressionCV(Cs=CS, scoring="neg_log_loss", **NEW).fit(X, y)
    np.testing.assert_allclose(model.scores_, named.scores_, rtol=1e-12)


def test_held_out_rows_that_lack_a_class():
    _, y, _ = problem("three")
    order = np.argsort(y, kind="stable")
    ours, theirs = both(
        "three", cv=[(order[:120], order[120:]), (order[30:], order[:30])], scoring="neg_log_loss"
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize("frame", [False, True])
def test_frames_and_lists(frame):
    X, y, _ = problem("strings")
    plain = SoftmaxRegressionCV(Cs=CS, scoring="neg_log_loss", **NEW).fit(X, y)
    if frame:
        rows, labels = pd.DataFrame(X, columns=list("abcde"), index=np.arange(len(X))[::-1]), pd.Series(y)
    else:
        rows, labels = X.tolist(), y.tolist()
    model = SoftmaxRegressionCV(Cs=CS, scoring="neg_log_loss", **NEW).fit(rows, labels)
    np.testing.assert_array_equal(model.scores_, plain.scores_)
    np.testing.assert_array_equal(model.predict(rows), plain.predict(X))
    assert hasattr(model, "feature_names_in_") == frame


def test_files_clones_and_what_is_kept(tmp_path):
    X, y, _ = problem("strings")
    with pytest.raises(NotFittedError):
        SoftmaxRegressionCV().save(tmp_path / "m")
    for refit in (True, False):
        model = SoftmaxRegressionCV(Cs=CS, refit=refit, **NEW)
        before = model.get_params()
        assert model.fit(X, y) is model
        assert model.get_params() == before
        model.save(tmp_path / "m")
        again = load(tmp_path / "m")
        assert type(again) is SoftmaxRegression
        assert again.C == model.C_
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        np.testing.assert_array_equal(model.best_estimator_.predict_proba(X), model.predict_proba(X))
        assert (model.objective_ is None) == (model.duality_gap_ is None) == (not refit)
        assert model.solver_ == "lbfgs"
    copy = clone(model)
    assert not hasattr(copy, "coef_")
    state = dict(model.__dict__)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.where(X > 2, np.nan, X), y)
    assert model.__dict__ == state


def test_the_parameters_of_logistic_regression_cv():
    theirs = inspect.signature(LogisticRegressionCV).parameters
    ours = inspect.signature(SoftmaxRegressionCV).parameters
    assert set(theirs) <= set(ours)
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in ours.values())


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"l1_ratios": (0.5, 1.1)}, ValueError, "l1_ratios must be an array-like of numbers between 0 and 1"),
        ({"l1_ratios": ()}, ValueError, "l1_ratios must be an array-like of numbers between 0 and 1"),
        ({"l1_ratios": (0.5,), "solver": "lbfgs"}, ValueError, "Solver lbfgs supports only"),
        ({"penalty": "elasticnet"}, ValueError, "l1_ratios must be"),
        ({"l1_ratios": (0.5,), "penalty_weights": [1.0]}, ValueError, "penalty_weights must be"),
        ({"Cs": [1.0, 0.0]}, ValueError, "list of positive numbers"),
        ({"Cs": []}, ValueError, "list of positive numbers"),
        ({"Cs": 0}, ValueError, "Cs"),
        ({"selection": "other"}, ValueError, "selection"),
        ({"scoring": "no such"}, ValueError, "scoring"),
        (
            {"class_weight": "balanced", "multi_class": "ovr"},
            ValueError,
            "does not go with multi_class='ovr'",
        ),
        ({"solver": "liblinear"}, ValueError, "Only binary classification"),
        ({"cv": 200}, ValueError, "n_splits=200"),
    ],
)
@pytest.mark.filterwarnings("ignore:'penalty' was deprecated:FutureWarning")
def test_wrong_arguments(options, error, text):
    X, y, _ = problem("three")
    with pytest.raises(error, match=text):
        SoftmaxRegressionCV(**options).fit(X, y)


@pytest.mark.filterwarnings("ignore:'penalty' was deprecated:FutureWarning")
def test_penalties_by_their_old_names():
    X, y, _ = problem("scaled")
    one = SoftmaxRegressionCV(Cs=CS, l1_ratios=(1.0,), use_legacy_attributes=False).fit(X, y)
    old = SoftmaxRegressionCV(Cs=CS, penalty="l1", use_legacy_attributes=False).fit(X, y)
    np.testing.assert_array_equal(old.coefs_paths_, one.coefs_paths_)
    assert old.l1_ratio_ == 1.0
    with pytest.warns(UserWarning, match="l1_ratios parameter is only used"):
        model = SoftmaxRegressionCV(Cs=CS, penalty="l2", l1_ratios=(0.5,)).fit(X, y)
    np.testing.assert_array_equal(model.coef_, SoftmaxRegressionCV(Cs=CS).fit(X, y).coef_)


def test_scikit_learns_defaults_warn_where_they_are_asked_for():
    X, y, _ = problem("scaled")
    silent = SoftmaxRegressionCV(Cs=CS).fit(X, y)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        told = SoftmaxRegressionCV(Cs=CS, l1_ratios="warn", scoring="warn", use_legacy_attributes="warn")
        told.fit(X, y)
    assert [str(each.message)[:17] for each in caught] == 3 * ["The default value"]
    assert {each.filename for each in caught} == {__file__}
    assert_same(told, silent)


def test_a_fold_without_weight_is_named():
    X, y, _ = problem("three")
    weight = (np.arange(len(y)) % 5 == 0).astype(float)
    outside = np.flatnonzero(weight == 0)
    with pytest.raises(ValueError, match="training set of fold 1 has no row of positive weight"):
        SoftmaxRegressionCV(cv=[(np.arange(150), outside), (outside, np.arange(9))]).fit(X, y, weight)


def test_what_was_not_reached_is_said_once():
    X, y, _ = problem("three")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SoftmaxRegressionCV(Cs=[0.1, 1e5], max_iter=3, **NEW).fit(X, y)
    assert model.n_iter_.max() == 3
    folded = [warning for warning in caught if "of 10 fits failed to converge" in str(warning.message)]
    assert [warning.category for warning in folded] == [ConvergenceWarning]
    assert len(caught) <= 2  # and that of the last fit


@pytest.mark.parametrize("ratio", [0, 1])
def test_no_penalty_is_a_C_as_well(ratio):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = (X + 2 * rng.gumbel(size=(200, 3))).argmax(axis=1)
    model = SoftmaxRegressionCV(Cs=[np.inf, 1.0], tol=1e-12, **NEW | {"l1_ratios": (ratio,)}).fit(X, y)
    inside, _ = next(StratifiedKFold().split(X, y))
    free = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(X[inside], y[inside])
    np.testing.assert_allclose(model.coefs_paths_[0, 0, 0, :, :-1], free.coef_, atol=1e-4)


def test_one_against_rest_and_labels_of_their_own():
    X, y, _ = problem("three")
    model = SoftmaxRegressionCV(Cs=CS, multi_class="ovr", tol=1e-12, **NEW).fit(X, y)
    one = SoftmaxRegression(C=model.C_, multi_class="ovr", tol=1e-12).fit(X, y)
    np.testing.assert_allclose(model.coef_, one.coef_, atol=ATOL)
    np.testing.assert_allclose(model.predict_proba(X), one.predict_proba(X), atol=10 * ATOL)
    several = np.column_stack((y == 0, X[:, 0] > 0)).astype(int)
    model = SoftmaxRegressionCV(Cs=CS, loss="sigmoid", **NEW).fit(X, several)
    assert model.predict(X).shape == several.shape
    assert model.scores_[:, 0].mean(axis=0).max() > 0.9


def test_metadata_routing():
    X, y, weight = problem("three")
    groups = np.arange(len(y)) // 10
    with pytest.raises(
        ValueError, match="cannot be routed to fit, which is only supported if enable_metadata_routing=True"
    ):
        SoftmaxRegressionCV().fit(X, y, groups=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba")
        kinds = [
            kind(
                Cs=CS, cv=GroupKFold(3).set_split_request(groups=True), **NEW,
                scoring=scorer.set_score_request(sample_weight=True), tol=tol, max_iter=20_000,
            )
            for kind, tol in ((SoftmaxRegressionCV, 1e-12), (LogisticRegressionCV, 1e-9))
        ]  # fmt: skip
        ours, theirs = (
            kind.set_fit_request(sample_weight=True).fit(X, y, sample_weight=weight, groups=groups)
            for kind in kinds
        )
        assert_same(ours, theirs)
        assert ours.score(X, y, sample_weight=weight) == pytest.approx(
            theirs.score(X, y, sample_weight=weight)
        )
