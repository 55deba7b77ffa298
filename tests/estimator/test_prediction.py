"""Law: predictions are what the logits say, for any number of labels, in blocks of bounded memory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score

from fastsoftmax import SoftmaxRegression
from tests import naive
from tests.interpreter import PEAK_MEMORY, run_python
from tests.problems import dataset, multilabel
from tests.tolerance import assert_as_accurate, eps_of


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_probabilities_are_the_softmax_of_the_logits(name, dtype):
    X, y = dataset(name)
    X = X.astype(dtype)
    model = SoftmaxRegression().fit(X, y)
    z = model.decision_function(X).astype(np.float64)
    z = np.stack([np.zeros_like(z), z], axis=1) if z.ndim == 1 else z
    tol = 8 * eps_of(dtype)
    size = np.max(np.abs(z))
    np.testing.assert_allclose(model.predict_proba(X), softmax(z, axis=1), rtol=tol * size)
    np.testing.assert_allclose(model.predict_log_proba(X), log_softmax(z, axis=1), atol=tol * size)
    np.testing.assert_array_equal(model.predict(X), model.classes_[z.argmax(axis=1)])


def test_far_rows_have_finite_log_probabilities():
    X, y = dataset("wine")
    model = SoftmaxRegression().fit(X, y)
    far = 1e4 * X
    assert np.all(np.isfinite(model.predict_log_proba(far)))
    np.testing.assert_allclose(model.predict_proba(far).sum(axis=1), 1, rtol=1e-14)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_multilabel_of_any_width(k):
    X, Y = multilabel(k=k)
    model = SoftmaxRegression(loss="sigmoid").fit(X, Y)
    z = X @ model.coef_.T + model.intercept_
    assert model.coef_.shape == (k, X.shape[1])
    assert len(model.classes_) == k
    for found, expected in (
        (model.decision_function(X), z),
        (model.predict_proba(X), expit(z)),
        (model.predict_log_proba(X), log_expit(z)),
        (model.predict(X), (z > 0).astype(int)),
    ):
        assert found.shape == (len(X), k)
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("name", ["wine", "digits", "breast_cancer"])
def test_top_k(name):
    X, y = dataset(name)
    labels = np.array([f"class {c}" for c in range(10)])
    model = SoftmaxRegression().fit(X, labels[y])
    proba = model.predict_proba(X)
    z = model.decision_function(X)
    logits = np.stack([-z, z], axis=1) / 2 if z.ndim == 1 else z
    exact = np.array([naive.softmax_exact(row) for row in logits])
    n_classes = len(model.classes_)
    for k in {1, 2, n_classes}:
        classes, best = model.predict_top_k(X, k)
        assert classes.shape == best.shape == (len(X), k)
        np.testing.assert_array_equal(classes[:, 0], model.predict(X))
        index = np.searchsorted(model.classes_, classes)
        np.testing.assert_array_equal(index, np.argsort(-logits, axis=1, kind="stable")[:, :k])
        # Both are as near to the exact ones as plain NumPy is; their sums are added in different orders.
        for found in (best, np.take_along_axis(proba, index, axis=1)):
            of_index = [np.take_along_axis(p, index, axis=1) for p in (softmax(logits, axis=1), exact)]
            assert_as_accurate(found, *of_index)


def test_top_k_where_probabilities_round_to_one():
    # both labels are certain to the last digit, and the second one is more so
    X, Y = multilabel(k=3)
    model = SoftmaxRegression(loss="sigmoid").fit(X, Y)
    model.coef_ = np.zeros_like(model.coef_)
    model.intercept_ = np.array([40.0, 60.0, 0.0])
    classes, proba = model.predict_top_k(X[:5], 3)
    np.testing.assert_array_equal(classes, np.tile([1, 0, 2], (5, 1)))
    np.testing.assert_array_equal(proba, np.tile([1, 1, 0.5], (5, 1)))


def test_callbacks_see_every_record():
    X, y = dataset("wine")
    seen, also = [], []
    model = SoftmaxRegression(callbacks=[seen.append, also.append]).fit(X, y)
    assert seen == also
    assert [record.passes for record in seen][-1] == model.history_[-1].passes
    assert len(seen) >= np.max(model.n_iter_)


def test_a_callback_that_fails_leaves_the_earlier_state():
    X, y = dataset("wine")
    model = SoftmaxRegression().fit(X, y)
    before = model.coef_.tobytes()

    def stop(record):
        raise KeyboardInterrupt

    model.set_params(callbacks=[stop], C=0.01)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*dataset("iris"))
    assert model.coef_.tobytes() == before
    assert model.n_features_in_ == X.shape[1]


def test_verbose_writes_to_standard_error(capfd):
    SoftmaxRegression(verbose=1).fit(*dataset("iris"))
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") >= 1


def test_no_iterations():
    X, y = dataset("iris")
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model = SoftmaxRegression(max_iter=0).fit(X, y)
    np.testing.assert_array_equal(model.coef_, 0)
    np.testing.assert_array_equal(model.n_iter_, [0])
    assert model.objective_ == pytest.approx(np.log(3), rel=1e-12)


def test_memory_of_prediction_does_not_grow_with_the_rows():
    # all logits of 2,000,003 rows take 656 MB in double, the result 16 MB; 32 MiB a block and as much for its
    # exponentials are granted, and 32 MiB for what libraries take meanwhile
    pytest.importorskip("resource", reason="this system does not tell a process's peak memory")
    code = """
    X = rng.normal(size=(2_000_003, 2)).astype(np.float32)
    y = np.arange(999) % 41
    model = fastsoftmax.SoftmaxRegression(tol=0.1).fit(X[:999], y)
    model.predict(X[:999])
    before = peak()
    model.predict(X)
    print(peak() - before)
    """
    status, out, err = run_python(PEAK_MEMORY + code)
    assert status == 0, err
    assert int(out) <= 8 * 2_000_003 + 3 * 32 * 2**20


def test_narrow_rows_are_not_widened_as_a_whole():
    # 60,013 x 784 bytes are 47 MB; in single they would take 188 MB
    pytest.importorskip("resource", reason="this system does not tell a process's peak memory")
    code = """
    X = rng.integers(0, 256, size=(60_013, 784), dtype=np.uint8)
    X = np.asfortranarray(X) if sys.argv[1] == "F" else X
    y = np.arange(60_013) % 3
    # enough rows for the kernels of many threads: compiling them takes memory of its own
    small = fastsoftmax.SoftmaxObjective(X[:9999], y[:9999], n_classes=3)
    params = np.zeros(small.n_params)
    small.value_and_grad(params)
    before = peak()
    fastsoftmax.SoftmaxObjective(X, y, n_classes=3).value_and_grad(params)
    print(peak() - before)
    """
    for order in ("C", "F"):
        status, out, err = run_python(PEAK_MEMORY + code, order)
        assert status == 0, err
        assert int(out) <= 100 * 2**20, order


def test_top_k_of_half_precision_rows_knows_classes_beyond_its_integers():
    # float16 holds the integers up to 2048 alone
    X, y = dataset("iris")
    model = SoftmaxRegression().fit(X, y)
    model.coef_ = np.zeros((3000, X.shape[1]))
    model.intercept_ = np.arange(3000.0)
    model.classes_ = np.arange(3000)
    classes, proba = model.predict_top_k(X.astype(np.float16), 3)
    np.testing.assert_array_equal(classes, np.tile([2999, 2998, 2997], (len(X), 1)))
    assert proba.dtype == np.float32
    np.testing.assert_array_equal(model.predict(X.astype(np.float16)), 2999)


@pytest.mark.parametrize("kind", ["softmax", "binary", "sigmoid"])
def test_predictions_of_half_precision_rows_are_those_of_the_same_float32_rows(kind):
    rng = np.random.default_rng(5)
    X = rng.normal(size=(401, 7)).astype(np.float16)
    y = {"softmax": np.arange(401) % 5, "binary": np.arange(401) % 2, "sigmoid": rng.integers(0, 2, (401, 3))}
    model = SoftmaxRegression(loss="sigmoid" if kind == "sigmoid" else "softmax").fit(X, y[kind])
    wide = X.astype(np.float32)
    model.coef_ *= 1e5  # logits that float16 does not hold
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        found = getattr(model, method)(X)
        assert found.dtype == np.float32, method
        np.testing.assert_array_equal(found, getattr(model, method)(wide), method)
        assert np.isfinite(found).all(), method
    for found, right in zip(model.predict_top_k(X, 2), model.predict_top_k(wide, 2)):
        assert found.dtype == right.dtype
        np.testing.assert_array_equal(found, right)


def test_metrics_of_half_precision_rows():
    """scikit-learn's metrics check that rows sum to one, to a precision that float16 does not have."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 16)).astype(np.float16)
    y = (X @ rng.normal(size=(16, 10)) + rng.gumbel(size=(2000, 10))).argmax(axis=1)
    wide = X.astype(np.float64)
    for metric in ("roc_auc_ovr", "neg_log_loss"):
        found = cross_val_score(SoftmaxRegression(C=1e4), X, y, scoring=metric, cv=3)
        right = cross_val_score(SoftmaxRegression(C=1e4), wide, y, scoring=metric, cv=3)
        # two fits to a relative suboptimality of 1e-6 have predictions that differ by its root
        np.testing.assert_allclose(found, right, rtol=2e-3, err_msg=metric)
    model = SoftmaxRegression(C=1e4).fit(X, y)
    # no penalty to speak of: the mean of the losses is the objective
    assert log_loss(y, model.predict_proba(X)) == pytest.approx(model.objective_, rel=1e-5)


def test_many_classes_are_never_held():
    # the logits of 200,003 rows take 641 MB in single; granted are a block and what libraries take meanwhile
    pytest.importorskip("resource", reason="this system does not tell a process's peak memory")
    code = """
    X = rng.normal(size=(200_003, 8)).astype(np.float32)
    y = np.arange(1602) % 801
    model = fastsoftmax.SoftmaxRegression(tol=0.5).fit(X[:1602], y)
    call = {"predict": model.predict, "top": lambda X: model.predict_top_k(X, 3)}[sys.argv[1]]
    call(X[:29_999])
    before = peak()
    call(X)
    print(peak() - before)
    """
    for name, result_bytes in (("predict", 8), ("top", 3 * (8 + 4))):
        status, out, err = run_python(PEAK_MEMORY + code, name)
        assert status == 0, err
        assert int(out) <= result_bytes * 200_003 + 2 * 32 * 2**20, name


@pytest.mark.parametrize("storage", [np.asarray, csr_array])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 7])
def test_a_row_is_predicted_alone_as_among_many(storage, dtype, n_classes):
    rng = np.random.default_rng(0)
    X = storage(rng.standard_normal((300, 12)).astype(dtype))
    model = SoftmaxRegression().fit(X, np.arange(300) % n_classes)
    for method in (model.predict, model.predict_proba, model.decision_function):
        together = method(X)
        for i in (0, 7, 299):
            np.testing.assert_array_equal(method(X[i : i + 1]), together[i : i + 1])


@pytest.mark.parametrize("storage", [np.asarray, csr_array])
def test_faults_of_few_rows_are_found(storage):
    X = np.random.default_rng(0).standard_normal((60, 3))
    model = SoftmaxRegression().fit(storage(X), np.arange(60) % 3)
    for bad, said in ((np.nan, "NaN"), (np.inf, "infinity")):
        faulty = X[:4].copy()
        faulty[2, 1] = bad
        with pytest.raises(ValueError, match=said):
            model.predict(storage(faulty))
    with pytest.raises(ValueError, match="X has 2 features"):
        model.predict(storage(X[:4, :2]))
    np.testing.assert_array_equal(model.predict(1e308 * np.ones((4, 3))), model.predict(np.ones((4, 3))))


@pytest.mark.parametrize("kind", ["i1", "u8", "f4", "U3", "?"])
def test_plain_labels_are_those_of_a_list(kind):
    X = np.random.default_rng(0).standard_normal((60, 3))
    y = (np.arange(60) % 2).astype(kind)
    plain, listed = (SoftmaxRegression().fit(X, labels) for labels in (y, y.tolist()))
    assert plain.classes_.dtype == y.dtype
    np.testing.assert_array_equal(plain.classes_, listed.classes_)
    np.testing.assert_array_equal(plain.coef_, listed.coef_)
