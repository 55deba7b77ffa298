"""Law: the classifier works inside scikit-learn and beside pandas as LogisticRegression does."""

from __future__ import annotations

import importlib.util
import io

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV
from tests.problems import dataset


@parametrize_with_checks(
    [
        SoftmaxRegression(),
        SoftmaxRegression(solver="newton-cg"),
        SoftmaxRegression(solver="liblinear"),
        SoftmaxRegression(loss="sigmoid"),
        SoftmaxRegression(multi_class="ovr"),
        SoftmaxRegression(multi_class="ovr", class_weight="balanced"),
        # Not with a weak penalty: the checks hold log-probabilities to 1e-9 of the logarithm of
        # probabilities, which float32 rounds to 1 at 3e-8 from it, where ours say −3e-8.
        SoftmaxRegression(solver="newton-cholesky"),
        SoftmaxRegressionCV(Cs=[0.01, 1.0], cv=3),
        SoftmaxRegressionCV(
            Cs=[0.01, 1.0],
            cv=3,
            l1_ratios=(0.5,),
            use_legacy_attributes=False,
            scoring="neg_log_loss",
            tol=1e-12,
        ),
    ]
)
@pytest.mark.filterwarnings("ignore")  # the checks provoke warnings of scikit-learn's own
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_pipeline_and_search():
    X, y = dataset("wine")
    scores = cross_val_score(make_pipeline(StandardScaler(), SoftmaxRegression()), X, y, cv=3)
    theirs = cross_val_score(make_pipeline(StandardScaler(), LogisticRegression()), X, y, cv=3)
    np.testing.assert_allclose(scores, theirs, atol=0.02)
    search = GridSearchCV(SoftmaxRegression(), {"C": [1e-4, 1.0]}, cv=3).fit(X, y)
    assert search.best_params_ == {"C": 1.0}


def test_calibration_and_scores():
    X, y = dataset("breast_cancer")
    for kind in (SoftmaxRegression, LogisticRegression):
        calibrated = CalibratedClassifierCV(kind(), cv=3, method="isotonic").fit(X, y)
        assert calibrated.score(X, y) > 0.97
    scores = cross_validate(SoftmaxRegression(), X, y, scoring=["neg_log_loss", "roc_auc"], cv=3)
    theirs = cross_validate(LogisticRegression(tol=1e-8), X, y, scoring=["neg_log_loss", "roc_auc"], cv=3)
    np.testing.assert_allclose(scores["test_neg_log_loss"], theirs["test_neg_log_loss"], rtol=0.01)
    np.testing.assert_allclose(scores["test_roc_auc"], theirs["test_roc_auc"], rtol=1e-3)


def test_joblib_and_clone():
    X, y = dataset("iris")
    model = SoftmaxRegression(C=0.5).fit(X, y)
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    np.testing.assert_array_equal(joblib.load(buffer).predict_proba(X), model.predict_proba(X))
    again = clone(model)
    assert not hasattr(again, "coef_")
    assert again.fit(X, y).coef_.tobytes() == model.coef_.tobytes()
    with joblib.parallel_backend("threading", n_jobs=2):
        scores = cross_val_score(model, X, y, cv=4)
    alone = cross_val_score(model, X, y, cv=4)
    np.testing.assert_array_equal(scores, alone)
    # and in processes of their own, to which models and rows are sent
    search = GridSearchCV(SoftmaxRegression(), {"C": [0.5, 1.0]}, cv=4, n_jobs=2).fit(X, y)
    folds = [search.cv_results_[f"split{i}_test_score"][0] for i in range(4)]
    np.testing.assert_array_equal(folds, alone)


def test_metadata_routing():
    X, y = dataset("wine")
    weight = np.arange(len(y)) % 3 + 1.0
    with sklearn.config_context(enable_metadata_routing=True):
        routed = SoftmaxRegression().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, routed)
        pipeline.fit(X, y, sample_weight=weight)
        rows = StandardScaler().fit_transform(X)
        direct = SoftmaxRegression().fit(rows, y, sample_weight=weight)
        assert pipeline[-1].coef_.tobytes() == direct.coef_.tobytes()
        assert SoftmaxRegression().fit(rows, y).coef_.tobytes() != direct.coef_.tobytes()
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError):
            cross_validate(SoftmaxRegression(), X, y, params={"sample_weight": weight})
        request = routed.get_metadata_routing().partial_fit.requests
    assert set(request) == {"classes", "sample_weight"}


FRAMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed"),
    )
    for name in ("pandas", "polars")
]


@pytest.mark.parametrize("library", FRAMES)
def test_frames(library):
    frames = importlib.import_module(library)
    X, y = dataset("iris")
    names = np.array(["x", "y", "z"])
    frame = frames.DataFrame(dict(zip("abcd", X.T)))
    model = SoftmaxRegression().fit(frame, y)
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(model.predict(frame), SoftmaxRegression().fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])
    with pytest.warns(UserWarning, match="feature names"):
        model.predict(X)
    for labels in (frames.Series(names[y]), frames.Series(names[y].astype(object).tolist())):
        named, theirs = (kind().fit(frame, labels) for kind in (SoftmaxRegression, LogisticRegression))
        assert named.classes_.tolist() == ["x", "y", "z"]
        assert named.classes_.dtype == theirs.classes_.dtype
        assert named.predict(frame).dtype == theirs.predict(frame).dtype
    soft = frames.DataFrame(dict(zip("xyz", np.eye(3)[y].T)))
    predicted = SoftmaxRegression().fit(frame, soft).predict(frame)
    np.testing.assert_array_equal(predicted, np.array(list("xyz"))[model.predict(frame)])
    weighted = SoftmaxRegression().fit(frame, frames.Series(y), sample_weight=frames.Series(np.ones(len(y))))
    assert weighted.coef_.tobytes() == model.coef_.tobytes()


@pytest.mark.parametrize("library", FRAMES)
def test_frames_from_a_transformer(library):
    X, y = dataset("iris")
    pipeline = make_pipeline(StandardScaler(), SoftmaxRegression()).set_output(transform=library)
    assert pipeline.fit(X, y).score(X, y) > 0.95
    assert pipeline[-1].feature_names_in_.tolist() == ["x0", "x1", "x2", "x3"]


@pytest.mark.skipif(
    importlib.util.find_spec("sklearn.callback") is None, reason="scikit-learn has callbacks from 1.9 on"
)
@pytest.mark.parametrize("solver", ["auto", "newton-cg", "liblinear"])
def test_scikit_learns_callbacks(solver):
    X, y = dataset("breast_cancer")
    seen = []

    class Recorder:
        def setup(self, estimator, context):
            seen.append("setup")

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
            if fitted_estimator is not None:
                seen.append((context.task_name, context.task_id, fitted_estimator.score(X, y)))

        def teardown(self, estimator, context):
            seen.append("teardown")

    model = SoftmaxRegression(solver=solver, C=0.1).set_callbacks(Recorder()).fit(X, y)
    assert seen[0] == "setup"
    assert seen[-1] == "teardown"
    steps = [(name, number) for name, number, _ in seen[1:-2]]
    assert steps == [(f"{model.solver_}-iter", number) for number in range(model.n_iter_[0])]
    assert seen[-2] == ("fit", 0, model.score(X, y))
    assert {name for name in vars(model) if "callback" in name} == {"callbacks", "_skl_callbacks"}

    model.set_params(max_iter=3, C=-1.0)
    seen.clear()
    with pytest.raises(ValueError, match="C"):
        model.fit(X, y)
    assert seen == []
    with pytest.raises(ValueError, match="NaN"):
        model.set_params(C=1.0).fit(np.where(X > 2, np.nan, X), y)
    assert seen == ["setup", "teardown"]


@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_predictions_have_the_shapes_and_dtypes_of_logistic_regression(name):
    X, y = dataset(name)
    for rows in (X, X.astype(np.float32)):
        ours, theirs = SoftmaxRegression().fit(rows, y), LogisticRegression().fit(rows, y)
        for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
            with np.errstate(divide="ignore"):  # theirs takes the logarithm of probabilities of 0
                b = getattr(theirs, method)(rows)
            a = getattr(ours, method)(rows)
            assert (a.shape, a.dtype) == (b.shape, b.dtype), method
        for attribute in ("coef_", "intercept_", "classes_", "n_iter_"):
            a, b = getattr(ours, attribute), getattr(theirs, attribute)
            assert (a.shape, a.dtype.kind) == (b.shape, b.dtype.kind), attribute
