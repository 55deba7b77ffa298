"""Law: SoftmaxObjective is Σ w l / Σ w + l2/2 ‖coef‖², its gradient and its Hessian, on any storage."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective
from tests import naive
from tests.tolerance import assert_as_accurate, assert_close, eps_of

N, D, K = 41, 6, 4
L2 = 0.03
STORAGES = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "csr32": sp.csr_array,
    "csr64": lambda X: with_index(sp.csr_array(X), np.int64),
}
KINDS = {  # of targets: options of the objective
    "index": {},
    "smooth": {"label_smoothing": 0.2},
    "soft": {},
    "soft-smooth": {"label_smoothing": 0.1},
    "sigmoid": {"loss": "sigmoid"},
}


def with_index(A, kind):
    A.indices, A.indptr = A.indices.astype(kind), A.indptr.astype(kind)
    return A


def draw(dtype=np.float64, n=N, d=D, k=K, seed=0):
    rng = np.random.default_rng(seed)
    X = np.where(rng.random((n, d)) < 0.3, 0, rng.normal(size=(n, d))).astype(dtype)
    X[n // 2] = 0
    return X, rng.normal(size=(k, d)), rng.normal(size=k)


def draw_target(kind, n=N, k=K):
    rng = np.random.default_rng(1)
    if kind.startswith("soft"):
        return rng.dirichlet(np.ones(k), size=n)
    if kind == "sigmoid":
        return rng.integers(0, 2, size=(n, k))
    return rng.integers(0, k, n)


def draw_weight(n=N):
    return np.where(np.arange(n) % 6 == 1, 0.0, np.random.default_rng(2).uniform(0.1, 4, n))


def flat(objective, coef, intercept):
    """The order that the contract fixes: coef in C order, then the intercept."""
    parts = [np.ravel(coef)] + ([np.ravel(intercept)] if objective.n_params > np.size(coef) else [])
    return np.concatenate(parts).astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_against_the_oracle(kind, weighted, storage, dtype):
    X, coef, intercept = draw(dtype)
    y, weight = draw_target(kind), draw_weight() if weighted else None
    objective = SoftmaxObjective(
        STORAGES[storage](X), y, l2=L2, sample_weight=weight, n_classes=K, **KINDS[kind]
    )
    options = KINDS[kind] | ({"soft": True} if kind.startswith("soft") else {})
    value, *grads = naive.objective(X, y, coef, intercept, l2=L2, sample_weight=weight, **options)
    params = flat(objective, coef, intercept)
    found, grad = objective.value_and_grad(params)
    assert isinstance(found, float)
    assert isinstance(objective.value(params), float)
    assert grad.dtype == np.float64
    assert grad.shape == (objective.n_params,) == (K * D + K,)
    assert_close(found, value, dtype=dtype, n_terms=D, scale=10)
    assert_close(objective.value(params), value, dtype=dtype, n_terms=D, scale=10)
    assert_close(grad, flat(objective, *grads), dtype=dtype, n_terms=D)
    v_coef, v_intercept = np.random.default_rng(3).normal(size=(K, D)), np.linspace(-1, 1, K)
    loss = KINDS[kind].get("loss", "softmax")
    curved = naive.hessp(X, coef, intercept, v_coef, v_intercept, l2=L2, sample_weight=weight, loss=loss)
    hv = objective.hessp(params, flat(objective, v_coef, v_intercept))
    assert hv.dtype == np.float64
    assert_close(hv, flat(objective, *curved), dtype=dtype, n_terms=D, scale=4)


@pytest.mark.parametrize("storage", ["C", "csr32"])
@pytest.mark.parametrize("kind", ["index", "sigmoid"])
def test_without_intercept(kind, storage):
    X, coef, _ = draw()
    y = draw_target(kind)
    objective = SoftmaxObjective(
        STORAGES[storage](X), y, l2=L2, n_classes=K, fit_intercept=False, **KINDS[kind]
    )
    assert (objective.n_params, objective.n_features, objective.n_classes) == (K * D, D, K)
    zero = np.zeros(K)
    value, of_coef, _ = naive.objective(X, y, coef, zero, l2=L2, **KINDS[kind])
    params = objective.pack(coef, zero)
    np.testing.assert_array_equal(params, np.ravel(coef))
    found, grad = objective.value_and_grad(params)
    assert_close(found, value, scale=10)
    assert_close(grad, np.ravel(of_coef), n_terms=D)
    found_coef, found_intercept = objective.unpack(params)
    np.testing.assert_array_equal(found_coef, coef)
    np.testing.assert_array_equal(found_intercept, zero)


def test_pack_and_unpack():
    X, coef, intercept = draw()
    objective = SoftmaxObjective(X, draw_target("index"), n_classes=K)
    assert (objective.n_params, objective.n_features, objective.n_classes) == (K * D + K, D, K)
    params = objective.pack(coef, intercept)
    assert params.dtype == np.float64
    np.testing.assert_array_equal(params, np.concatenate([coef.ravel(), intercept]))
    np.testing.assert_array_equal(objective.pack(np.asfortranarray(coef), intercept), params)
    for before, after in zip((coef, intercept), objective.unpack(params), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("kind", ["index", "soft"])
def test_number_of_classes(kind):
    y = draw_target(kind)
    assert SoftmaxObjective(draw()[0], y).n_classes == K
    if kind == "index":
        assert SoftmaxObjective(draw()[0], y, n_classes=9).n_params == 9 * D + 9


def test_single_is_as_accurate_as_plain_numpy_in_single():
    n, d, k = 613, 37, 5
    X, coef, intercept = draw(np.float32, n, d, k)
    y = draw_target("index", n, k)
    objective = SoftmaxObjective(X, y, l2=L2)
    value, *grads = naive.objective(X, y, coef, intercept, l2=L2)
    z = X @ coef.astype(np.float32).T + intercept.astype(np.float32)
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z)
    p /= p.sum(axis=1, keepdims=True)
    plain = -np.log(p[np.arange(n), y]).mean(dtype=np.float32) + np.float32(L2 / 2 * np.sum(coef**2))
    p[np.arange(n), y] -= 1
    plain_grad = np.concatenate([(p.T @ X / np.float32(n) + np.float32(L2) * coef).ravel(), p.mean(axis=0)])
    found, grad = objective.value_and_grad(objective.pack(coef, intercept))
    assert_as_accurate(found, plain, value, dtype=np.float32)
    assert_as_accurate(grad, plain_grad, objective.pack(*map(np.array, grads)), dtype=np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_by_finite_differences(kind):
    X, coef, intercept = draw()
    options = KINDS[kind] | {"l2": L2, "sample_weight": draw_weight(), "n_classes": K}
    objective = SoftmaxObjective(X, draw_target(kind), **options)
    x = objective.pack(coef, intercept)
    v = np.random.default_rng(4).normal(size=x.size)
    h = 1e-4  # of order four: truncation h^4 and rounding eps/h are both near 1e-12
    steps, factors = (-2 * h, -h, h, 2 * h), (1 / 12, -8 / 12, 8 / 12, -1 / 12)
    slope = sum(f * objective.value(x + s * v) for s, f in zip(steps, factors)) / h
    assert slope == pytest.approx(objective.value_and_grad(x)[1] @ v, abs=1e-10)
    curve = sum(f * objective.value_and_grad(x + s * v)[1] for s, f in zip(steps, factors)) / h
    np.testing.assert_allclose(objective.hessp(x, v), curve, atol=1e-10)
    assert scipy.optimize.check_grad(objective.value, lambda p: objective.value_and_grad(p)[1], x) < 1e-6


@pytest.mark.parametrize("kind", ["index", "soft", "sigmoid"])
def test_the_hessian_is_symmetric(kind):
    X, coef, intercept = draw()
    objective = SoftmaxObjective(X, draw_target(kind), l2=L2, n_classes=K, **KINDS[kind])
    x = objective.pack(coef, intercept)
    H = np.array([objective.hessp(x, e) for e in np.eye(x.size)])
    np.testing.assert_allclose(H, H.T, atol=16 * eps_of(np.float64))
    assert np.linalg.eigvalsh(H).min() >= -1e-14


@pytest.mark.parametrize("storage", ["C", "csr32"])
def test_in_scipy_minimize(storage):
    X, coef, intercept = draw()
    y = draw_target("index")
    objective = SoftmaxObjective(STORAGES[storage](X), y, l2=L2)
    found = scipy.optimize.minimize(
        objective.value_and_grad,
        np.zeros(objective.n_params),
        jac=True,
        hessp=objective.hessp,
        method="trust-ncg",
        options={"gtol": 1e-7},  # sqrt(eps) is about the last gradient whose step the value still resolves
    )
    assert found.success
    best, *grads = naive.objective(X, y, *objective.unpack(found.x), l2=L2)
    assert_close(found.fun, best)
    assert max(np.max(np.abs(g)) for g in grads) < 2e-7
    assert best < naive.objective(X, y, coef, intercept, l2=L2)[0]


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16, np.float16, bool])
def test_narrow_X_gives_what_its_numbers_give(kind):
    X, coef, intercept = draw()
    X = np.abs(np.round(3 * X)).astype(kind)
    y = draw_target("index")
    objective = SoftmaxObjective(X, y, l2=L2)
    params = objective.pack(coef, intercept)
    wide = SoftmaxObjective(X.astype(np.float64), y, l2=L2)
    # it may be multiplied in single: the numbers themselves are exact in any float
    assert_close(objective.value(params), wide.value(params), dtype=np.float32, n_terms=D, scale=10)
    grads = objective.value_and_grad(params)[1], wide.value_and_grad(params)[1]
    assert_close(*grads, dtype=np.float32, n_terms=D, scale=4)


@pytest.mark.parametrize(
    "layout", ["every other column", "rows reversed", "memory map", "bytes swapped", "list"]
)
def test_layouts_of_X(layout, tmp_path):
    X, coef, intercept = draw()
    np.save(tmp_path / "X.npy", X)
    other = {
        "every other column": np.repeat(X, 2, axis=1)[:, ::2],
        "rows reversed": X[::-1].copy()[::-1],
        "memory map": np.load(tmp_path / "X.npy", mmap_mode="r"),
        "bytes swapped": X.astype(X.dtype.newbyteorder()),
        "list": X.tolist(),
    }[layout]
    y = draw_target("index")
    plain, objective = SoftmaxObjective(X, y, l2=L2), SoftmaxObjective(other, y, l2=L2)
    params = plain.pack(coef, intercept)
    for a, b in zip(objective.value_and_grad(params), plain.value_and_grad(params), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("storage", STORAGES)
def test_nothing_is_written_to(storage):
    X, coef, intercept = draw()
    y, weight = draw_target("index"), draw_weight()
    arrays = [y, weight]
    stored = STORAGES[storage](X)
    arrays += [stored] if isinstance(stored, np.ndarray) else [stored.data, stored.indices, stored.indptr]
    for array in arrays:
        array.flags.writeable = False
    objective = SoftmaxObjective(stored, y, l2=L2, sample_weight=weight)
    params = objective.pack(coef, intercept)
    params.flags.writeable = False
    before = objective.value_and_grad(params)
    before[1][:] = np.nan  # the result is the caller's, not a view of a buffer
    again = objective.value_and_grad(params)
    assert again[0] == before[0]
    assert np.all(np.isfinite(again[1]))
    assert np.all(np.isfinite(objective.hessp(params, params)))


@pytest.mark.parametrize("storage", ["C", "csr32"])
def test_concurrent_calls_on_one_object(storage):
    n = 4001
    X, coef, intercept = draw(n=n)
    objective = SoftmaxObjective(STORAGES[storage](X), draw_target("index", n), l2=L2)
    rng = np.random.default_rng(5)
    points = [objective.pack(coef, intercept) + rng.normal(size=objective.n_params) for _ in range(6)]

    def everything(x):
        value, grad = objective.value_and_grad(x)
        return value, grad.tobytes(), objective.hessp(x, x[::-1].copy()).tobytes(), objective.value(x)

    expected = [everything(x) for x in points]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(everything, points * 10))
    assert found == expected * 10


def test_two_classes_have_two_rows_of_coefficients():
    X, coef, intercept = draw(k=2)
    y = draw_target("index", k=2)
    objective = SoftmaxObjective(X, y, l2=L2)
    assert objective.n_classes == 2
    value, *_ = naive.objective(X, y, coef, intercept, l2=L2)
    assert_close(objective.value(objective.pack(coef, intercept)), value, scale=10)


@pytest.mark.parametrize("storage", [np.asarray, sp.csr_array])
def test_several_parameter_vectors_at_once(storage):
    rng = np.random.default_rng(31)
    X, y = rng.normal(size=(90, 6)), rng.integers(0, 4, 90)
    objective = SoftmaxObjective(storage(X), y, l2=0.3, sample_weight=rng.random(90))
    params = rng.normal(size=(11, objective.n_params))  # more than are summed together
    values, grads = objective.values_and_grads(params)
    alone = [objective.value_and_grad(own) for own in params]
    assert_close(values, [value for value, _ in alone], n_terms=90)
    assert_close(grads, [grad for _, grad in alone], n_terms=90)
    penalties = np.linspace(0, 2, 11)
    values, grads = objective.values_and_grads(params, penalties)
    for value, grad, own, l2 in zip(values, grads, params, penalties):
        coef = objective.unpack(own).coef
        base, slope = objective.value_and_grad(own)
        assert_close(value, base + (l2 - 0.3) / 2 * (coef**2).sum(), n_terms=90)
        assert_close(grad, slope + objective.pack((l2 - 0.3) * coef, np.zeros(4)), n_terms=90)
    with pytest.raises(ValueError, match="params"):
        objective.values_and_grads(params[0])
    for bad in (penalties[1:], -penalties, penalties + np.inf, 1.0):
        with pytest.raises(ValueError, match="l2"):
            objective.values_and_grads(params, bad)
