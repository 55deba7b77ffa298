"""Objectives for boosting libraries: training with ours gives the built-in objective's trees.

`python -m tests.backends` runs this in an environment of its own.
"""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from sklearn.datasets import make_classification

import fastsoftmax
from fastsoftmax import boosting

N_ROWS, N_CLASSES, ROUNDS = 400, 4, 8
# Of leaf values: sums of some hundred float32 gradients, each within two roundings of the built-in's.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-6}


def data():
    X, y = make_classification(
        n_samples=N_ROWS, n_features=7, n_informative=6, n_redundant=0, n_classes=N_CLASSES, random_state=0
    )
    weight = np.random.default_rng(0).uniform(0.5, 2.0, N_ROWS)
    return X.astype(np.float32), y, weight


def losses_of(margins, y, weight):
    return fastsoftmax.cross_entropy(margins, y, sample_weight=weight)


@pytest.fixture
def xgboost():
    return pytest.importorskip("xgboost", reason="needs XGBoost: python -m tests.backends")


@pytest.fixture
def lightgbm():
    return pytest.importorskip("lightgbm", reason="needs LightGBM: python -m tests.backends")


@pytest.fixture
def catboost():
    return pytest.importorskip("catboost", reason="needs CatBoost: python -m tests.backends")


def xgboosts_trees(booster):
    """Splits, and values of splits and leaves, of all trees."""
    frame = booster.trees_to_dataframe()
    return list(frame["Feature"]), frame["Split"].fillna(0.0).to_numpy(), frame["Gain"].to_numpy()


def test_xgboosts_trees(xgboost):
    """The same splits and leaves as multi:softprob, with weights."""
    X, y, weight = data()
    rows = xgboost.DMatrix(X, label=y, weight=weight)
    options = {"num_class": N_CLASSES, "base_score": 0.5, "max_depth": 3, "nthread": 1}
    options["objective"] = "multi:softprob"
    theirs = xgboost.train(options, rows, ROUNDS)
    results = {}
    own = xgboost.train(
        options, rows, ROUNDS, obj=boosting.xgboost_objective(), custom_metric=boosting.xgboost_metric(),
        evals=[(rows, "train")], evals_result=results, verbose_eval=False,
    )  # fmt: skip
    for one, other in zip(xgboosts_trees(own), xgboosts_trees(theirs)):
        if isinstance(one, list):
            assert one == other
        else:
            np.testing.assert_allclose(one, other, **TOLERANCE)
    np.testing.assert_allclose(own.predict(rows), theirs.predict(rows), **TOLERANCE)
    margins = own.predict(rows, output_margin=True)
    np.testing.assert_allclose(results["train"]["mlogloss"][-1], losses_of(margins, y, weight), rtol=1e-5)


def test_xgboosts_estimator(xgboost):
    """XGBClassifier takes the objective, with weights, and the pickled model predicts."""
    X, y, weight = data()
    options = {"n_estimators": ROUNDS, "max_depth": 3, "base_score": 0.5, "n_jobs": 1}
    own = xgboost.XGBClassifier(objective=boosting.xgboost_objective(), **options).fit(
        X, y, sample_weight=weight
    )
    theirs = xgboost.XGBClassifier(objective="multi:softprob", **options).fit(X, y, sample_weight=weight)
    raw = (model.predict(X, output_margin=True) for model in (pickle.loads(pickle.dumps(own)), theirs))
    np.testing.assert_allclose(*raw, **TOLERANCE)


def test_xgboosts_soft_labels(xgboost):
    """Probabilities as a matrix of labels, or given to the objective: those of labels give their trees."""
    X, y, _ = data()
    hard = np.eye(N_CLASSES, dtype=np.float32)[y]
    options = {"base_score": 0.5, "max_depth": 3, "nthread": 1}
    labels, matrix = xgboost.DMatrix(X, label=y), xgboost.DMatrix(X, label=hard)
    of_labels = xgboost.train(
        {**options, "num_class": N_CLASSES}, labels, ROUNDS, obj=boosting.xgboost_objective()
    )
    of_matrix = xgboost.train(options, matrix, ROUNDS, obj=boosting.xgboost_objective())
    given = boosting.xgboost_objective(soft_labels=hard)
    of_given = xgboost.train({**options, "num_class": N_CLASSES}, labels, ROUNDS, obj=given)
    expected = of_labels.predict(labels, output_margin=True)
    for booster, rows in ((of_matrix, matrix), (of_given, labels)):
        np.testing.assert_allclose(booster.predict(rows, output_margin=True), expected, **TOLERANCE)


def test_xgboosts_errors(xgboost):
    """Wrong options and labels are XGBoost's error."""
    error = xgboost.core.XGBoostError
    with pytest.raises(error, match="label_smoothing"):
        boosting.xgboost_objective(label_smoothing=2.0)
    with pytest.raises(error, match="hessian"):
        boosting.xgboost_objective(hessian="best")
    with pytest.raises(error, match="metric"):
        boosting.xgboost_metric("auc")
    X, y, _ = data()
    for labels, message in ((y + 1, "integers 0 to 3; got 4.0"), (y + 0.5, r"got \d\.5")):
        rows = xgboost.DMatrix(X, label=labels)
        with pytest.raises(error, match=message):
            xgboost.train({"num_class": N_CLASSES}, rows, 1, obj=boosting.xgboost_objective())
    with pytest.raises(error, match="num_class"):
        xgboost.train({}, xgboost.DMatrix(X, label=y), 1, obj=boosting.xgboost_objective())


def leaves_of(booster):
    """The model's trees, without what is not a tree."""
    return json.loads(json.dumps(booster.dump_model()["tree_info"]))


def test_lightgbms_trees(lightgbm):
    """The same splits and leaves as "multiclass", with weights; the metric is that of probabilities."""
    X, y, weight = data()
    options = {
        "num_class": N_CLASSES, "boost_from_average": False, "num_leaves": 7, "verbose": -1, "num_threads": 1,
        "deterministic": True, "metric": "None",
    }  # fmt: skip
    results = {}

    def train(objective, **more):
        rows = lightgbm.Dataset(X, label=y, weight=weight)
        return lightgbm.train({**options, "objective": objective}, rows, ROUNDS, valid_sets=[rows], **more)

    theirs = train("multiclass")
    own = train(
        boosting.lightgbm_objective(),
        feval=boosting.lightgbm_metric(),
        callbacks=[lightgbm.record_evaluation(results)],
    )
    raw = [model.predict(X, raw_score=True) for model in (own, theirs)]
    np.testing.assert_allclose(*raw, **TOLERANCE)
    splits = [model.trees_to_dataframe()[["split_feature", "threshold"]] for model in (own, theirs)]
    assert splits[0].equals(splits[1])
    np.testing.assert_allclose(
        results["training"]["multi_logloss"][-1], losses_of(raw[0], y, weight), rtol=1e-6
    )


def test_lightgbms_estimator(lightgbm):
    """LGBMClassifier takes the objective and the metric, with weights."""
    X, y, weight = data()
    options = {
        "n_estimators": ROUNDS,
        "num_leaves": 7,
        "boost_from_average": False,
        "verbose": -1,
        "n_jobs": 1,
    }
    own = lightgbm.LGBMClassifier(objective=boosting.lightgbm_objective(), **options)
    own.fit(X, y, sample_weight=weight, eval_X=X, eval_y=y, eval_metric=boosting.lightgbm_metric("error"))
    theirs = lightgbm.LGBMClassifier(**options).fit(X, y, sample_weight=weight)
    raw = [model.predict(X, raw_score=True) for model in (own, theirs)]
    np.testing.assert_allclose(*raw, **TOLERANCE)
    wrong = np.mean(raw[0].argmax(1) != y)
    np.testing.assert_allclose(own.evals_result_["valid_0"]["multi_error"][-1], wrong)


def test_lightgbms_errors(lightgbm):
    """Wrong options and labels are LightGBM's error."""
    error = lightgbm.basic.LightGBMError
    with pytest.raises(error, match="class_weight"):
        boosting.lightgbm_objective(class_weight=[-1.0, 1.0])
    X, y, _ = data()
    rows = lightgbm.Dataset(X, label=y + 1)
    options = {"objective": boosting.lightgbm_objective(), "num_class": N_CLASSES, "verbose": -1}
    with pytest.raises(error, match="labels must be the integers"):
        lightgbm.train(options, rows, 1)


@pytest.mark.filterwarnings("ignore")  # CatBoost tries to compile the methods, and says that it cannot
def test_catboosts_trees(catboost):
    """The same predictions as MultiClass, with weights; and the metric is the loss."""
    X, y, weight = data()
    options = {
        "iterations": ROUNDS, "depth": 3, "learning_rate": 0.3, "boosting_type": "Plain", "verbose": 0,
        "bootstrap_type": "No", "leaf_estimation_method": "Newton", "leaf_estimation_iterations": 1,
        "leaf_estimation_backtracking": "No", "random_strength": 0, "thread_count": 1,
        "allow_writing_files": False, "classes_count": N_CLASSES,
    }  # fmt: skip
    pool = catboost.Pool(X, y, weight=weight)
    theirs = catboost.CatBoost({**options, "loss_function": "MultiClass"}).fit(pool)
    own = catboost.CatBoost(
        {**options, "loss_function": boosting.catboost_objective(), "eval_metric": boosting.catboost_metric()}
    ).fit(pool)
    raw = [model.predict(X, prediction_type="RawFormulaVal") for model in (own, theirs)]
    np.testing.assert_allclose(*raw, rtol=1e-6, atol=1e-8)
    (metric,) = own.get_evals_result()["learn"].values()
    np.testing.assert_allclose(metric[-1], losses_of(raw[0], y, weight), rtol=1e-6)


def test_catboosts_derivatives():
    """Row by row, derivatives of minus the loss: with class weights and smoothing, those of the kernel."""
    pytest.importorskip("catboost", reason="needs CatBoost: python -m tests.backends")
    rng = np.random.default_rng(0)
    z, class_weight = rng.normal(size=(5, 3)), rng.random(3)
    objective = boosting.catboost_objective(class_weight=class_weight, label_smoothing=0.2)
    options = {"class_weight": class_weight, "label_smoothing": 0.2, "reduction": "sum"}

    def grad_at(x, label):
        return fastsoftmax.cross_entropy_value_and_grad(x[None], [label], **options)[1][0]

    for i, label in enumerate([0, 2, 1, 1, 0]):
        slopes, curvatures = objective.calc_ders_multi(z[i].tolist(), float(label), 1.5)
        np.testing.assert_allclose(slopes, -1.5 * grad_at(z[i], label), atol=1e-14)
        step = 1e-6
        for k in range(3):
            there, back = (grad_at(z[i] + sign * step * np.eye(3)[k], label) for sign in (1.0, -1.0))
            np.testing.assert_allclose(curvatures[k], -1.5 * (there - back) / (2.0 * step), atol=1e-8)


def test_catboosts_errors(catboost):
    """Wrong options and labels are CatBoost's error."""
    with pytest.raises(catboost.CatBoostError, match="label_smoothing"):
        boosting.catboost_objective(label_smoothing=-1.0)
    with pytest.raises(catboost.CatBoostError, match="labels must be"):
        boosting.catboost_objective().calc_ders_multi([0.0, 0.0], 2.0, 1.0)
