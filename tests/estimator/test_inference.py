"""Law: standard errors, tests and effects are those of the likelihood at the fitted coefficients."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.sparse
import scipy.stats
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from fastsoftmax import SoftmaxRegression
from fastsoftmax.estimator.packed_covariance import PackedMatrix
from fastsoftmax.objective.curvature import Curvature
from tests import naive

STEP = 1e-6


def problem(n=97, d=3, n_classes=3, seed=0):
    """Rows of overlapping classes, their labels, whole weights, and groups that do not lie together."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    logits = X @ rng.normal(size=(d, n_classes)) + rng.gumbel(size=(n, n_classes))
    y = np.array(["oats", "barley", "wheat", "rye"])[logits.argmax(axis=1)]
    return X, y, rng.integers(1, 4, n).astype(float), rng.integers(0, 12, n)


def fitted(X, y, weight=None, **options):
    return SoftmaxRegression(**{"C": np.inf, "tol": 1e-14, "solver": "newton-cholesky", **options}).fit(
        X, y, weight
    )


def with_constant(X):
    return np.column_stack((np.ones(len(X)), X))


def shares(y, classes):
    return (y[:, np.newaxis] == classes).astype(float)


def close(a, b, digits=1e-9):
    np.testing.assert_allclose(a, b, rtol=digits, atol=digits * np.abs(b).max())


def test_the_covariance_is_the_inverse_hessian_in_contrasts():
    X, y, weight, _ = problem()
    X[:, 1] += 1e3  # far from zero: sums are of centred rows
    model = fitted(X, y, weight)
    found = model.inference(X, y, weight, base="oats")
    assert found.classes.tolist() == ["barley", "wheat"]
    assert found.terms == ["const", "x0", "x1", "x2"]
    coef = np.column_stack((model.intercept_, model.coef_))
    np.testing.assert_allclose(found.params, (coef - coef[1])[[0, 2]], rtol=1e-12, atol=1e-9)
    H = np.array(naive.information(with_constant(X), found.params, weight))
    close(found.cov, np.linalg.inv(H), 1e-5)  # of a Hessian of condition 10¹⁰: the inverse is not exact
    np.testing.assert_array_equal(found.standard_errors.ravel(), np.sqrt(found.cov.diagonal()))
    close(found.p_values, 2 * scipy.stats.norm.sf(np.abs(found.params / found.standard_errors)))
    close(found.conf_int(0.9)[..., 1], found.params + scipy.stats.norm.ppf(0.95) * found.standard_errors)
    first = model.inference(X, y, weight)  # the same distribution, in other contrasts
    assert first.base == "barley"
    close(first.params[0], -found.params[0])
    close(first.standard_errors[0], found.standard_errors[0], 1e-7)


def test_numbers_of_the_likelihood():
    X, y, weight, _ = problem()
    model = fitted(X, y, weight)
    found = model.inference(X, y, weight)
    p = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    loglik = weight @ np.log(p)
    totals = np.array([weight[y == label].sum() for label in model.classes_])
    null = totals @ np.log(totals / weight.sum())
    close([found.loglik, found.loglik_null], [loglik, null])
    close(found.pseudo_r2, 1 - loglik / null)
    close([found.aic, found.bic], [-2 * loglik + 16, -2 * loglik + 8 * np.log(weight.sum())])
    test = found.lr_test()
    close(test, [2 * (loglik - null), 6, scipy.stats.chi2.sf(2 * (loglik - null), 6)])
    fewer = fitted(X[:, :2], y, weight).inference(X[:, :2], y, weight)
    close(found.lr_test(fewer)[:2], [2 * (loglik - fewer.loglik), 2])


def test_weights_are_repeated_rows():
    X, y, weight, _ = problem()
    times = np.repeat(np.arange(len(y)), weight.astype(int))
    one, other = (fitted(*rows).inference(*rows) for rows in ((X, y, weight), (X[times], y[times])))
    close(one.cov, other.cov, 1e-6)
    close([one.loglik, one.nobs, one.bic], [other.loglik, other.nobs, other.bic])
    close(one.margins().cov, other.margins().cov, 1e-6)


@pytest.mark.parametrize("kind", ["robust", "cluster"])
@pytest.mark.parametrize("storage", [np.asarray, scipy.sparse.csr_array, lambda X: X.astype(np.float32)])
def test_the_sandwich_is_that_of_the_scores(kind, storage, monkeypatch):
    monkeypatch.setattr("fastsoftmax.objective.row_parts.CHUNK_BYTES", 0)
    monkeypatch.setattr("fastsoftmax.objective.row_parts.MIN_CHUNK", 31)  # four parts, of two chunks each
    X, y, weight, groups = problem(n=150)
    X = X.astype(np.float32).astype(float)
    found = fitted(X, y, weight).inference(
        storage(X), y, weight, kind=kind, groups=groups if kind == "cluster" else None
    )
    S = np.array(naive.scores(with_constant(X), shares(y, np.unique(y)), found.params, weight))
    bread = np.linalg.inv(naive.information(with_constant(X), found.params, weight))
    factor = 1.0
    if kind == "cluster":
        S = np.array([S[groups == g].sum(axis=0) for g in np.unique(groups)])
        factor = 12 / 11 * (150 - 1) / (150 - 8)
    close(found.cov, factor * bread @ S.T @ S @ bread, 1e-7)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "two classes"])
def test_effects_and_their_errors_are_those_of_derivatives(loss):
    X, y, weight, _ = problem(n=41, n_classes=2 if loss == "two classes" else 3)
    target, base = y, None
    if loss == "sigmoid":
        target = shares(y, np.unique(y))
    elif loss == "two classes":
        base = "oats"  # the second
    model = fitted(X, target, weight, loss="sigmoid" if loss == "sigmoid" else "softmax")
    found = model.inference(X, target, weight, base=base)
    margins = found.margins()

    def effects(flat):
        of = naive.marginal_effects(
            with_constant(X),
            flat.reshape(found.params.shape),
            1,
            weight,
            "sigmoid" if loss == "sigmoid" else "softmax",
        )
        return np.array(of)[1:] if loss == "two classes" else np.array(of)

    flat = found.params.ravel()
    close(margins.effects, effects(flat))
    steps = STEP * np.eye(len(flat))
    jacobian = np.array([(effects(flat + s) - effects(flat - s)).ravel() for s in steps]).T / (2 * STEP)
    close(margins.cov, jacobian @ found.cov @ jacobian.T, 1e-7)
    assert len(margins.classes) == len(margins.effects)
    assert margins.to_frame().shape == (margins.effects.size, 6)


def test_independent_labels_are_as_many_models_of_two_classes():
    X, y, weight, _ = problem()
    Y = shares(y, np.unique(y))
    together = fitted(X, Y, weight, loss="sigmoid")
    for kind in ("observed", "robust"):
        found = together.inference(X, Y, weight, kind=kind)
        assert found.base is None
        for k, column in enumerate(Y.T):
            one = fitted(X, column, weight).inference(X, column, weight, kind=kind)
            close(found.standard_errors[k], one.standard_errors[0], 1e-6)
            close(found.cov[4 * k : 4 * k + 4, 4 * k : 4 * k + 4], one.cov, 1e-6)
    other = fitted(X, Y[:, 0], weight).inference(X, Y[:, 0], weight, base=1.0)
    close(other.params[0], -found.params[0], 1e-6)
    assert other.classes.tolist() == [0.0]


@pytest.mark.parametrize("options", [{}, {"standardize": True}, {"penalty_weights": [0.0, 1.0, 2.0]}])
def test_a_penalty_is_added_to_the_hessian_of_all_classes(options):
    X, y, weight, _ = problem()
    X *= [1.0, 2.0, 4.0]
    model = fitted(X, y, weight, C=0.1, **options)
    found = model.inference(X, y, weight)
    factors = np.array(options.get("penalty_weights", np.ones(3)))
    if options.get("standardize"):
        factors = np.average((X - np.average(X, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    H = np.zeros((12, 12))  # of all three classes
    P = model.predict_proba(X)
    for row, p, w in zip(with_constant(X), P, weight, strict=True):
        H += w * np.kron(np.diag(p) - np.outer(p, p), np.outer(row, row))
    to_contrasts = np.kron([[-1, 1, 0], [-1, 0, 1]], np.eye(4))
    penalty = np.kron(np.eye(3), np.diag([0.0, *factors]) / 0.1)
    cov = to_contrasts @ np.linalg.pinv(H + penalty, rcond=1e-12) @ to_contrasts.T
    close(found.cov, cov, 1e-7)
    assert found.distance < 1e-4  # the gradient has the penalty's
    close(found.df, np.trace(np.linalg.pinv(H + penalty, rcond=1e-12) @ H), 1e-7)
    assert "biased" in found.summary()
    with pytest.raises(ValueError, match="no likelihood-ratio test"):
        found.lr_test()


def test_a_penalised_constant_of_two_classes():
    X, y, _, _ = problem(n_classes=2)
    model = fitted(X, y, C=0.5, solver="liblinear", intercept_scaling=2.0)
    found = model.inference(X, y)
    p = model.predict_proba(X)[:, 1]
    A = with_constant(X)
    H = A.T @ (A * (p * (1 - p))[:, np.newaxis]) + np.diag([1 / 4, 1, 1, 1]) / 0.5
    close(found.cov, np.linalg.inv(H), 1e-7)
    assert found.distance < 1e-4


def test_columns_that_depend_on_each_other_are_named():
    X, y, _, _ = problem()
    frame = pd.DataFrame(np.column_stack((X, X[:, 0] + X[:, 2])), columns=["a", "b", "c", "sum"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = fitted(frame, y, tol=1e-6)
    with pytest.raises(ValueError, match=r"columns a, c, sum of X depend on each other"):
        model.inference(frame, y)
    fitted(frame, y, C=1.0).inference(frame, y)  # a penalty tells them apart


def test_classes_that_a_column_separates_are_named():
    X, y, _, _ = problem()
    X[:, 2] = (y == "wheat") & (np.arange(len(y)) % 3 == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = fitted(X, y, tol=1e-6, max_iter=300)
    with pytest.warns(UserWarning, match=r"x2 of class 'wheat'.*separate"):
        model.inference(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(X, y, C=1.0).inference(X, y)  # a penalty gives an answer


def test_a_fit_that_ended_early_is_told():
    X, y, _, _ = problem()
    model = fitted(X, y)
    model.coef_ = 1.1 * model.coef_
    with pytest.warns(ConvergenceWarning, match=r"standard errors from the maximum: fit with tol="):
        model.inference(X, y)


def test_tables():
    X, y, _, _ = problem()
    frame = pd.DataFrame(X, columns=["dose", "<age>", "time"])
    found = fitted(frame, y).inference(frame, y)
    table = found.to_frame(0.9)
    assert table.index[1] == ("oats", "dose")
    assert table.columns.tolist() == ["coef", "std_error", "z", "p_value", "lower", "upper"]
    np.testing.assert_array_equal(table["coef"], found.params.ravel())
    np.testing.assert_array_equal(table["lower"], found.conf_int(0.9)[..., 0].ravel())
    text = found.summary()
    lines = text.splitlines()
    assert "oats against barley" in text
    assert max(map(len, lines)) <= 110
    assert [line.split()[0] for line in lines].count("dose") == 2
    assert f"{found.params[0, 1]:.5g}" in text
    assert "&lt;age&gt;" in found._repr_html_()
    assert "<age>" not in found._repr_html_()


def test_wrong_arguments():
    X, y, _, groups = problem()
    model = fitted(X, y)
    for message, options in {
        "kind must be one of": {"kind": "HC3"},
        "groups go with kind": {"groups": groups},
        "groups must be": {"kind": "cluster", "groups": groups[1:]},
        "one group only": {"kind": "cluster", "groups": np.zeros(len(y))},
        "base must be one of the classes": {"base": "rice"},
        "covariance must be one of": {"covariance": "none"},
    }.items():
        with pytest.raises(ValueError, match=message):
            model.inference(X, y, **options)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        model.inference(X, y).conf_int(95)
    with pytest.raises(ValueError, match="class 'wheat': no row has it"):
        model.inference(X[y != "wheat"], y[y != "wheat"])
    with pytest.raises(ValueError, match="absolute values"):
        SoftmaxRegression(l1_ratio=1.0).fit(X, y).inference(X, y)
    with pytest.raises(ValueError, match="no common likelihood"):
        SoftmaxRegression(multi_class="ovr").fit(X, y).inference(X, y)
    with pytest.raises(NotFittedError):
        SoftmaxRegression().inference(X, y)


def test_the_bits_do_not_depend_on_the_threads(monkeypatch):
    monkeypatch.setattr("fastsoftmax.objective.row_parts.MIN_CHUNK", 10)
    X, y, weight, groups = problem()
    model = fitted(X, y, weight)
    found = [
        model.set_params(n_threads=n).inference(X, y, weight, kind="cluster", groups=groups) for n in (1, 3)
    ]
    np.testing.assert_array_equal(found[0].cov, found[1].cov)
    np.testing.assert_array_equal(found[0].margins().cov, found[1].margins().cov)


def test_a_covariance_that_does_not_fit_is_refused_at_once(monkeypatch):
    X, y, _, _ = problem()
    model = fitted(X, y)
    monkeypatch.setattr("fastsoftmax.estimator.covariances.available_memory", lambda: 700)
    with pytest.raises(
        ValueError, match=r"8 parameters takes 7.52e-07 GB .*covariance='diagonal' takes 5.28e-07"
    ):
        model.inference(X, y)
    model.inference(X, y, covariance="diagonal")
    monkeypatch.setattr("fastsoftmax.estimator.covariances.available_memory", lambda: 500)
    with pytest.raises(
        ValueError, match=r"5.28e-07 GB while it is made; 5e-07 GB are free\. Leave out features"
    ):
        model.inference(X, y, covariance="diagonal")


@pytest.mark.parametrize("kind", ["observed", "robust"])
@pytest.mark.parametrize("C", [np.inf, 0.1])
def test_the_diagonal_alone_is_that_of_the_matrix(kind, C):
    X, y, weight, _ = problem(d=2, n_classes=4)
    X[:, 1] += 1e3  # sums are of centred rows
    for columns in (slice(0, 2), slice(0, 1), slice(1, 2)):  # of nine parameters, of six
        model = fitted(X[:, columns], y, weight, C=C)
        whole, alone = (
            model.inference(X[:, columns], y, weight, kind=kind, covariance=covariance)
            for covariance in ("full", "diagonal")
        )
        close(alone.standard_errors, whole.standard_errors, 1e-8)
        close([alone.df], [whole.df], 1e-8)
        assert alone.distance == pytest.approx(whole.distance, rel=1e-3, abs=1e-9)
    assert alone.summary().startswith("Observations")
    for part in (lambda: alone.cov, alone.margins):
        with pytest.raises(ValueError, match="diagonal of the covariance was kept alone"):
            part()


def test_the_diagonal_alone_names_what_is_singular():
    X, y, _, _ = problem()
    X[:, 2] = X[:, 0] - X[:, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = fitted(X, y, tol=1e-6)
    with pytest.raises(ValueError, match=r"columns x0, x1, x2 of X depend on each other"):
        model.inference(X, y, covariance="diagonal")


@pytest.mark.parametrize(("m", "q"), [(1, 3), (2, 11), (4, 3), (5, 50)])
def test_both_ways_to_the_information(m, q):
    rng = np.random.default_rng(m)
    columns, weight = rng.normal(size=(600, q)), rng.integers(0, 3, 600).astype(float)
    p = rng.dirichlet(np.ones(m + 1), 600)[:, :m]
    found = []
    for pairs_per_term in (0.0, np.inf):  # all pairs at once, each pair
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fastsoftmax.objective.curvature.PAIRS_PER_TERM", pairs_per_term)
            patch.setattr("fastsoftmax.objective.curvature.PANEL", 7)
            patch.setattr("fastsoftmax.objective.curvature.PRODUCTS", 60)
            sums = Curvature(m, q, True)
            for some in (slice(0, 550), slice(550, 600)):
                sums.add(columns[some], p[some], 1.0 - p[some], weight[some])
            diagonal = sums.diagonal.copy()
            (information,) = sums.information()
            np.testing.assert_array_equal(diagonal.ravel(), information.diagonal())
            found.append(information)
    H = np.einsum(
        "n,nkl,ni,nj->kilj", weight, np.eye(m) * p[:, None] - p[:, None] * p[:, :, None], columns, columns
    )
    for information in found:
        close(information, H.reshape(m * q, m * q), 1e-12)


@pytest.mark.parametrize("order", [4, 5])
def test_the_packed_format_is_lapacks(order):
    A = np.arange(order**2, dtype=float).reshape(order, order)
    A += A.T
    packed = PackedMatrix(order)
    for block in ((0, 0), (2, 0), (2, 2)):
        packed.put(
            *block, A[block[0] : 2 if block[0] == 0 else order, block[1] : 2 if block[1] == 0 else order]
        )
    np.testing.assert_array_equal(packed.flat, scipy.linalg.lapack.dtrttf(A, transr="N", uplo="L")[0])
    np.testing.assert_array_equal(packed.columns(1, order), A[:, 1:])


@pytest.mark.parametrize("kind", ["observed", "robust", "cluster"])
def test_agreement_with_statsmodels(kind):
    api = pytest.importorskip("statsmodels.api")
    X, y, _, groups = problem(n=500)
    options = {
        "observed": {},
        "robust": {"cov_type": "HC0"},
        "cluster": {"cov_type": "cluster", "cov_kwds": {"groups": groups}},
    }[kind]
    for n_classes, of in ((3, api.MNLogit), (2, api.Logit)):
        rows = y != "wheat" if n_classes == 2 else slice(None)
        Xs, ys = X[rows], np.searchsorted(np.unique(y[rows]), y[rows])
        if kind == "cluster":
            options["cov_kwds"] = {"groups": groups[rows]}
        theirs = of(ys, with_constant(Xs)).fit(method="newton", disp=False, tol=1e-14, **options)
        ours = fitted(Xs, ys).inference(Xs, ys, kind=kind, groups=groups[rows] if kind == "cluster" else None)
        close(ours.params, np.atleast_2d(theirs.params.T), 1e-6)
        close(ours.cov, theirs.cov_params(), 1e-6)
        close(ours.p_values, np.atleast_2d(theirs.pvalues.T), 1e-6)
        close(ours.conf_int().reshape(-1, 2), np.asarray(theirs.conf_int()).reshape(-1, 2), 1e-6)
        close([ours.aic, ours.bic, ours.pseudo_r2], [theirs.aic, theirs.bic, theirs.prsquared], 1e-8)
        close(ours.lr_test()[::2], [theirs.llr, theirs.llr_pvalue], 1e-6)
        theirs, ours = theirs.get_margeff(), ours.margins()
        close(ours.effects, np.atleast_2d(theirs.margeff.T), 1e-6)
        close(ours.standard_errors, np.atleast_2d(theirs.margeff_se.T), 1e-6)
