"""Law: what a fit leaves behind is complete, survives copying and saving, and is never half replaced."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from fastsoftmax import SoftmaxRegression
from tests.problems import dataset, multilabel, objective_of, reference

DEFAULTS = {
    "C": 1.0,
    "l1_ratio": 0.0,
    "fit_intercept": True,
    "class_weight": None,
    "solver": "auto",
    "tol": 1e-6,
    "max_iter": 1000,
    "warm_start": False,
    "random_state": None,
    "verbose": 0,
    "n_threads": None,
    "device": "cpu",
    "callbacks": None,
    "loss": "softmax",
    "multi_class": "multinomial",
    "checkpoint": None,
    "penalty": "deprecated",
    "dual": False,
    "intercept_scaling": 1,
    "n_jobs": None,
    "keep_on_interrupt": False,
    "standardize": False,
    "penalty_weights": None,
    "group_classes": False,
    "max_seconds": None,
}
FITTED = [
    "coef_",
    "intercept_",
    "classes_",
    "n_features_in_",
    "n_iter_",
    "solver_",
    "objective_",
    "duality_gap_",
    "history_",
]


def state(model):
    """Bytes and values of everything fitted, to see whether it changed."""
    return {k: v.tobytes() if isinstance(v, np.ndarray) else repr(v) for k, v in vars(model).items()}


def fitted(name="wine", **options):
    X, y = dataset(name)
    return SoftmaxRegression(**options).fit(X, y)


def test_constructor():
    assert SoftmaxRegression().get_params() == DEFAULTS
    with pytest.raises(TypeError):
        SoftmaxRegression(1.0)  # scikit-learn's first one is penalty, which is deprecated: all have names
    options = {"C": 3.0, "solver": "nonsense", "tol": -1}
    model = SoftmaxRegression(**options)  # nothing is checked before fit
    assert {k: model.get_params()[k] for k in options} == options
    assert model.set_params(C=4.0).C == 4.0
    assert clone(model).get_params() == model.get_params()
    assert "C=4.0" in repr(model)


def test_fit_returns_itself_and_leaves_everything():
    X, y = dataset("wine")
    model = SoftmaxRegression()
    assert model.fit(X, y) is model
    for name in FITTED:
        assert hasattr(model, name), name
    assert model.get_params() == DEFAULTS
    assert model.n_features_in_ == X.shape[1]
    assert not hasattr(model, "feature_names_in_")
    assert isinstance(model.solver_, str)
    assert model.solver_ not in ("", "auto")
    assert 1 <= np.max(model.n_iter_) <= 1000
    assert isinstance(model.objective_, float)


@pytest.mark.parametrize("name", ["wine", "digits", "breast_cancer"])
def test_history(name):
    X, y = dataset(name)
    model = fitted(name)
    history = model.history_
    assert len(history) >= 1
    assert history[0]._fields == (
        "seconds",
        "objective",
        "grad_norm",
        "gap",
        "passes",
        "bytes_read",
    )
    for field in ("seconds", "passes"):
        column = [getattr(record, field) for record in history]
        assert column == sorted(column)
    assert history[0].passes >= 1
    assert history[-1].objective == pytest.approx(model.objective_, rel=1e-9)
    assert history[-1].grad_norm <= history[0].grad_norm
    best = objective_of(reference(X, y), X, y)
    for record in history:
        assert record.objective >= best * (1 - 1e-12)
        assert record.gap is None or record.gap >= record.objective - best - 1e-12 * best


@pytest.mark.parametrize("C", [0.001, 1.0, 1000.0])
@pytest.mark.parametrize("tol", [1e-1, 1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_the_gap_certifies(name, tol, C):
    X, y = dataset(name)
    model = fitted(name, C=C, tol=tol)
    best = objective_of(reference(X, y, C=C), X, y, C)
    assert 0 <= model.duality_gap_ <= tol * model.objective_
    assert model.duality_gap_ >= model.objective_ - best - 1e-13


@pytest.mark.parametrize("case", ["unconverged", "weights", "soft", "multilabel", "no intercept", "float32"])
def test_the_gap_bounds_elsewhere(case):
    X, y = dataset("iris")
    weight, options, tol = None, {}, 1e-2
    if case == "weights":
        weight = np.arange(len(y)) % 5 + 0.5
    elif case == "no intercept":
        options = {"fit_intercept": False}
    elif case == "unconverged":
        with pytest.warns(ConvergenceWarning):
            model = SoftmaxRegression(max_iter=1).fit(X, y)
        assert model.duality_gap_ > 1e-6 * model.objective_
        assert model.duality_gap_ >= model.objective_ - objective_of(reference(X, y), X, y)
        return
    elif case == "soft":
        target = 0.9 * np.eye(3)[y] + 0.1 / 3
        loose = SoftmaxRegression(tol=tol).fit(X, target)
        tight = SoftmaxRegression(tol=1e-10).fit(X, target)
        assert loose.duality_gap_ >= loose.objective_ - tight.objective_
        return
    elif case == "multilabel":
        X, y = multilabel()
        loose = SoftmaxRegression(tol=tol, loss="sigmoid").fit(X, y)
        tight = SoftmaxRegression(tol=1e-10, loss="sigmoid").fit(X, y)
        assert loose.duality_gap_ >= loose.objective_ - tight.objective_
        return
    rows = X.astype(np.float32) if case == "float32" else X
    model = SoftmaxRegression(tol=tol, **options).fit(rows, y, sample_weight=weight)
    best = objective_of(reference(rows, y, weight=weight, **options), rows, y, weight=weight)
    slack = 1e-6 if case == "float32" else 1e-13
    assert model.duality_gap_ >= model.objective_ - best - slack
    assert model.duality_gap_ <= tol * model.objective_


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gap_where_mean_probabilities_round_to_the_mean_targets(dtype):
    # one row a class: at the optimum every mean is 1/K to the last digit or the one before, and a warning of
    # a division by what is left of their difference is an error here
    for seed in range(24):
        rng = np.random.default_rng(seed)
        k = int(rng.integers(3, 8))
        X = (rng.normal(size=(k, 9)) * 10 ** rng.uniform(-2, 3)).astype(dtype)
        model = SoftmaxRegression(C=10 ** rng.uniform(-2, 4), tol=1e-4).fit(X, np.arange(k))
        assert np.isfinite(model.duality_gap_)
        assert model.duality_gap_ >= 0


def test_fewer_iterations_than_needed_warns_how_far_it_is():
    X, y = dataset("digits")
    with pytest.warns(ConvergenceWarning) as caught:
        model = SoftmaxRegression(max_iter=2).fit(X, y)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "\n" not in text
    for word in ("gap", "passes", "max_iter"):
        assert word in text
    assert str(model.history_[-1].passes) in text
    assert np.max(model.n_iter_) == 2
    assert np.all(np.isfinite(model.coef_))


def test_fits_of_the_same_are_the_same_to_the_bit():
    first, *others = (fitted("digits", n_threads=n) for n in (None, 1, 2, 4))
    for other in others:
        assert other.coef_.tobytes() == first.coef_.tobytes()
        assert other.intercept_.tobytes() == first.intercept_.tobytes()


def test_fit_is_silent(capfd):
    fitted("iris")
    assert capfd.readouterr() == ("", "")


def test_warm_start():
    X, y = dataset("digits")
    cold, warm = SoftmaxRegression().fit(X, y), SoftmaxRegression(warm_start=True).fit(X, y)
    passes = warm.history_[-1].passes
    warm.fit(X, y)
    assert warm.history_[-1].passes < passes
    assert warm.objective_ <= cold.objective_ * (1 + 1e-6)
    assert SoftmaxRegression().fit(X, y).fit(X, y).history_[-1].passes == cold.history_[-1].passes
    other, labels = dataset("iris")
    assert warm.fit(other, labels).coef_.shape == (3, 4)  # another shape: it starts afresh


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"]
)
def test_copies_predict_the_same(how):
    X, _ = dataset("wine")
    model = fitted()
    other = how(model)
    assert state(other) == state(model)
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))


@pytest.mark.parametrize("kind", ["integers", "strings", "booleans", "multilabel"])
def test_save_and_load(kind, tmp_path):
    X, y = dataset("breast_cancer") if kind == "booleans" else dataset("wine")
    options = {"C": 0.25, "class_weight": None if kind == "multilabel" else "balanced"}
    if kind == "strings":
        y = np.array(["Barolo", "Grignolino", "Barbera"])[y]
    elif kind == "booleans":
        y = y == 1
    elif kind == "multilabel":
        X, y = multilabel()
        options["loss"] = "sigmoid"
    model = SoftmaxRegression(**options).fit(X, y)
    path = tmp_path / "model.safetensors"
    model.save(path)
    other = SoftmaxRegression.load(str(path))
    assert isinstance(other, SoftmaxRegression)
    assert other.get_params() == model.get_params()
    assert other.coef_.tobytes() == model.coef_.tobytes()
    assert other.intercept_.tobytes() == model.intercept_.tobytes()
    assert other.n_features_in_ == model.n_features_in_
    assert np.asarray(other.classes_).tolist() == np.asarray(model.classes_).tolist()
    for name in ("predict", "predict_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(other, name)(X), getattr(model, name)(X))
        assert getattr(other, name)(X).dtype == getattr(model, name)(X).dtype
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "something was left behind"


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.safetensors"
    fitted().save(path)
    before = path.read_bytes()
    with pytest.raises(NotFittedError):
        SoftmaxRegression().save(path)
    assert path.read_bytes() == before
    with pytest.raises(OSError):
        fitted().save(tmp_path / "no" / "such" / "folder.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("wrong", ["nan", "lengths", "one class", "option", "weights"])
def test_a_failed_fit_leaves_the_earlier_state(wrong):
    X, y = dataset("iris")
    model = fitted("wine")
    before = state(model)
    weight = None
    if wrong == "nan":
        X = np.where(np.arange(X.size).reshape(X.shape) == 7, np.nan, X)
    elif wrong == "lengths":
        y = y[:-1]
    elif wrong == "one class":
        y = np.zeros_like(y)
    elif wrong == "weights":
        weight = np.ones(len(y) + 1)
    else:
        model.set_params(solver="nonsense")
    with pytest.raises(ValueError):
        model.fit(X, y, sample_weight=weight)
    model.set_params(solver="auto")
    assert state(model) == before
    model.predict(dataset("wine")[0])


@pytest.mark.parametrize(
    "call",
    [
        lambda m, X: m.predict(X),
        lambda m, X: m.predict_proba(X),
        lambda m, X: m.predict_log_proba(X),
        lambda m, X: m.decision_function(X),
        lambda m, X: m.score(X, np.zeros(len(X))),
        lambda m, X: m.predict_top_k(X, 2),
        lambda m, X: m.save("never-written"),
    ],
    ids=[
        "predict",
        "predict_proba",
        "predict_log_proba",
        "decision_function",
        "score",
        "predict_top_k",
        "save",
    ],
)
def test_not_fitted(call):
    with pytest.raises(NotFittedError):
        call(SoftmaxRegression(), dataset("iris")[0])


def test_predictions_do_not_depend_on_the_other_rows():
    # prediction works in row blocks: more rows than a block holds, the last block short
    X, _ = dataset("digits")
    model = fitted("digits")
    rows = np.tile(X, (23, 1))
    many, few = model.predict_proba(rows), model.predict_proba(X)
    np.testing.assert_allclose(many, np.tile(few, (23, 1)), atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(X[7:8]), few[7:8], atol=1e-12)
    np.testing.assert_array_equal(model.predict(rows), np.tile(model.predict(X), 23))


def test_partial_fit():
    X, y = dataset("iris")
    names = np.array(["a", "b", "c"])
    model = SoftmaxRegression(random_state=0)
    with pytest.raises(ValueError, match="classes"):
        model.partial_fit(X[:9], names[y[:9]])
    order = np.random.default_rng(11).permutation(len(y))
    for epoch in range(20):
        for rows in np.array_split(order, 5):
            given = names if epoch == 0 else None
            assert model.partial_fit(X[rows], names[y[rows]], classes=given) is model
    np.testing.assert_array_equal(model.classes_, names)
    assert model.coef_.shape == (3, 4)
    assert model.score(X, names[y]) >= 0.9
    with pytest.raises(ValueError, match=r"\by\b"):
        model.partial_fit(X[:3], np.array(["a", "z", "b"]))
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:3, :2], names[y[:3]])


def test_partial_fit_goes_on_from_a_fit():
    X, y = dataset("iris")
    model = SoftmaxRegression().fit(X, y)
    model.partial_fit(
        X[::2], y[::2]
    )  # the classes are known, as scikit-learn's own online classifiers have it
    np.testing.assert_array_equal(model.classes_, [0, 1, 2])
    assert model.score(X, y) >= 0.9


def test_partial_fit_takes_weights_and_a_class_it_has_not_seen():
    X, y = dataset("iris")
    model = SoftmaxRegression().partial_fit(X[:100], y[:100], classes=[0, 1, 2], sample_weight=np.ones(100))
    assert model.predict_proba(X).shape == (150, 3)
    assert np.all(np.isfinite(model.coef_))


@pytest.mark.parametrize("C", [1.0, 1e4])
@pytest.mark.parametrize("name", ["wine", "digits"])
def test_classes_have_nothing_in_common(name, C):
    """A vector added to every class's coefficients changes no probability, and is penalised."""
    model = fitted(name, C=C)
    np.testing.assert_allclose(model.coef_.sum(axis=0), 0.0, atol=1e-13 * np.abs(model.coef_).max())
    X, y = dataset(name)
    value = objective_of(model, X, y, C)
    assert value == pytest.approx(model.objective_, rel=1e-12)
