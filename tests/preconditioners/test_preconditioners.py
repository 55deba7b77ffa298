"""Law: sums over rows give the Hessian's blocks, and what is made of them is its inverse or close to it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective, set_executor
from fastsoftmax.contracts import Params, RowBlock
from fastsoftmax.data.validation import design_matrix
from fastsoftmax.kernels import cpu
from fastsoftmax.kernels.cpu import grams
from fastsoftmax.kernels.cpu.sizes import GRAM_PANEL
from fastsoftmax.losses import sigmoid, softmax
from fastsoftmax.objective import source_objective
from fastsoftmax.preconditioners import choice, kronecker
from fastsoftmax.sources.array import ArraySource
from tests import naive
from tests.tolerance import assert_close

N, D, K = 47, 6, 4
L2 = 0.02
STORAGES = {"C": np.ascontiguousarray, "F": np.asfortranarray, "csr": sp.csr_array}
LOSSES = {"softmax": softmax, "sigmoid": sigmoid}


def draw(dtype=np.float64, loss="softmax", n=N, d=D):
    rng = np.random.default_rng(3)
    X = np.where(rng.random((n, d)) < 0.3, 0, rng.normal(size=(n, d))).astype(dtype)
    weight = np.where(np.arange(n) % 6 == 1, 0.0, rng.uniform(0.1, 4, n))
    y = rng.integers(0, K, n) if loss == "softmax" else rng.integers(0, 2, (n, K)).astype(dtype)
    return X, y, weight, Params(rng.normal(size=(K, d)), rng.normal(size=K))


def oracle(X, weight, params, l2=0.0, loss="softmax"):
    """The Hessian of F class by class, (K, d + 1, K, d + 1), a column for each unit vector."""
    size = X.shape[1] + 1
    hessian = np.zeros((K, size, K, size))
    for k, j in np.ndindex(K, size):
        v = np.zeros((K, size))
        v[k, j] = 1.0
        parts = naive.hessp(X, *params, v[:, :-1], v[:, -1], l2=l2, sample_weight=weight, loss=loss)
        hessian[:, :, k, j] = np.column_stack([np.array(part) for part in parts])
    return hessian


def of(loss, X, y, weight, **options):
    return SoftmaxObjective(X, y, l2=L2, n_classes=K, loss=loss, sample_weight=weight, **options)


def matrix_of(function, size):
    """The matrix of a linear function of vectors."""
    return np.array([function(e) for e in np.eye(size)]).T


def by_class(matrix, obj):
    """Rows and columns in the order of `oracle`, from coefficients first and then intercepts."""
    order = np.array([k * obj.n_features + j for k in range(K) for j in range(obj.n_features)])
    if obj.fit_intercept:
        order = np.column_stack((order.reshape(K, -1), K * obj.n_features + np.arange(K))).ravel()
    return matrix[np.ix_(order, order)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_blocks_are_the_oracles(loss, pairs, storage, dtype, monkeypatch):
    monkeypatch.setattr(grams, "MIN_CHUNK", 16)  # several chunks, and a last one that is shorter
    monkeypatch.setattr(grams, "MAX_CHUNK", 16)
    X, y, weight, params = draw(dtype, loss)
    block = RowBlock(design_matrix(STORAGES[storage](X)), y, weight)
    sums = cpu.gram(LOSSES[loss].for_targets(y, K), params, pairs, block, dtype=dtype)
    exact = oracle(X.astype(np.float64), weight, params, loss=loss) * weight.sum()
    wanted = [(k, other) for k in range(K) for other in range(k + 1) if pairs or other == k]
    assert sums.coef.shape == (len(wanted), D + 1, D + 1)
    assert sums.coef.dtype == dtype
    assert sums.weight == pytest.approx(weight.sum())
    for found, (k, other) in zip(sums.coef, wanted, strict=True):
        lower = np.tril(exact[k, :, other, :])
        assert_close(np.tril(found), lower, dtype=dtype, n_terms=N, scale=weight.sum())


@pytest.mark.parametrize("pairs", [False, True])
def test_some_classes_have_the_blocks_that_they_have_among_all(pairs):
    X, y, weight, params = draw()
    block, loss = RowBlock(X, y, weight), softmax.for_targets(y, K)
    every = [(k, other) for k in range(K) for other in range(k + 1) if pairs or other == k]
    blocks = dict(zip(every, cpu.gram(loss, params, pairs, block).coef, strict=True))
    for first, last in ((0, 1), (1, K), (K - 1, K)):
        wanted = [(k, o) for k in range(first, last) for o in range(first, k + 1) if pairs or o == k]
        found = cpu.gram(loss, params, pairs, block, classes=(first, last)).coef
        assert len(found) == len(wanted)
        for own, place in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(np.tril(own), np.tril(blocks[place]))


def test_panels_of_the_lower_triangle_meet(monkeypatch):
    monkeypatch.setattr(grams, "MIN_CHUNK", 16)
    d = GRAM_PANEL + 3
    X, y, weight, params = draw(d=d)
    params = Params(params.coef / d, params.intercept)
    sums = cpu.gram(softmax.for_targets(y, K), params, False, RowBlock(X, y, weight))
    z = X @ params.coef.T + params.intercept
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    ones = np.column_stack((X, np.ones(len(X))))
    for k in range(K):
        exact = (ones.T * (weight * p[:, k] * (1 - p[:, k]))) @ ones
        assert_close(np.tril(sums.coef[k]), np.tril(exact), n_terms=N, scale=np.abs(exact).max())


@pytest.mark.parametrize("executor", ["prange", "threads"])
def test_the_blocks_do_not_depend_on_the_executor(executor):
    X, y, weight, params = draw(d=200, n=301)
    found = []
    for name, n_threads in (("inline", 1), (executor, 2), (executor, 3)):
        before = set_executor(name)
        try:
            sums = cpu.gram(softmax.for_targets(y, K), params, False, RowBlock(X, y, weight), n_threads)
        finally:
            set_executor(before)
        found.append(sums.coef.tobytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_whole_hessian_is_inverted(loss, fit_intercept):
    X, y, weight, params = draw(loss=loss)
    obj = of(loss, X, y, weight, fit_intercept=fit_intercept)
    x = obj.pack(params.coef, params.intercept if fit_intercept else None)
    assert obj._preconditioning.form[0] == "full"
    inverse = obj.preconditioner(x)
    rng = np.random.default_rng(5)
    for _ in range(3):
        v = rng.normal(size=obj.n_params)
        if loss == "softmax" and fit_intercept:
            v[-K:] -= v[-K:].mean()  # one number added to all intercepts changes nothing, nor is it returned
        np.testing.assert_allclose(inverse(obj.hessp(x, v)), v, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("form", ["full", "block diagonal", "kronecker", "diagonal"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_form_is_symmetric_positive_and_near_the_inverse(loss, form, monkeypatch):
    X, y, weight, params = draw(loss=loss)
    obj = of(loss, X, y, weight)
    obj._preconditioning.__dict__["form"] = (form, np.float64)
    x = obj.pack(*params)
    M = matrix_of(obj.preconditioner(x), obj.n_params)
    H = matrix_of(lambda v: obj.hessp(x, v), obj.n_params)
    np.testing.assert_allclose(M, M.T, rtol=1e-9, atol=1e-9)
    least = np.linalg.eigvalsh(M)
    assert least[0] > -1e-12
    n_flat = 1 if loss == "softmax" else 0  # the level of the intercepts
    assert np.sum(least > 1e-9) == obj.n_params - n_flat
    spread = np.sort(np.linalg.eigvals(M @ H).real)[n_flat:]
    plain = np.sort(np.linalg.eigvalsh(H))[n_flat:]
    assert spread[-1] / spread[0] < plain[-1] / plain[0]


@pytest.mark.parametrize("loss", LOSSES)
def test_class_blocks_invert_the_blocks(loss):
    X, y, weight, params = draw(loss=loss)
    obj = of(loss, X, y, weight)
    obj._preconditioning.__dict__["form"] = ("block diagonal", np.float64)
    M = by_class(matrix_of(obj.preconditioner(obj.pack(*params)), obj.n_params), obj)
    exact = oracle(X, weight, params, L2, loss)
    size = D + 1
    inverse = np.zeros((K, size, K, size))
    for k in range(K):
        inverse[k, :, k, :] = np.linalg.inv(exact[k, :, k, :])
    inverse = inverse.reshape(K * size, K * size)
    if loss == "softmax":
        mean = np.kron(np.full((K, K), 1 / K), np.eye(size))
        pull = np.kron(np.full((K, K), 1 / K), np.diag([1 / L2] * D + [0.0]))
        inverse = (np.eye(K * size) - mean) @ inverse @ (np.eye(K * size) - mean) + pull
    np.testing.assert_allclose(M, inverse, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_parameters_the_block_is_the_rows_gram_matrix(dtype, storage, monkeypatch):
    monkeypatch.setattr(grams, "MIN_CHUNK", 16)
    monkeypatch.setattr(grams, "MAX_CHUNK", 16)
    X, y, weight, _ = draw(dtype)
    block = RowBlock(design_matrix(STORAGES[storage](X)), y, weight)
    sums = cpu.gram(softmax.for_targets(y, K), None, False, block)
    ones = np.column_stack((X, np.ones(N))).astype(np.float64)
    exact = (ones.T * weight) @ ones
    assert sums.coef.shape == (1, D + 1, D + 1)
    assert_close(np.tril(sums.coef[0]), np.tril(exact), n_terms=N, scale=np.abs(exact).max())


@pytest.mark.parametrize("l2", [L2, 0.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_gram_matrix_with_a_scale_for_each_class_is_inverted(loss, fit_intercept, l2):
    X, y, weight, params = draw(loss=loss)
    X += 3.0  # a mean that the intercept shares
    obj = SoftmaxObjective(
        X, y, l2=l2, n_classes=K, loss=loss, sample_weight=weight, fit_intercept=fit_intercept
    )
    obj._preconditioning.__dict__["form"] = ("kronecker", np.float64)
    x = obj.pack(params.coef, params.intercept if fit_intercept else None)
    M = by_class(matrix_of(obj.preconditioner(x), obj.n_params), obj)
    ones = np.column_stack((X, np.ones(N)))
    moments = ((ones.T * weight) @ ones / weight.sum())[: D + fit_intercept, : D + fit_intercept]
    exact = oracle(X, weight, obj.unpack(x), loss=loss)
    penalty = np.diag([l2] * D + [0.0] * fit_intercept)
    inverse = [np.linalg.inv(exact[k, -1, k, -1] * moments + penalty) for k in range(K)]
    inverse = scipy.linalg.block_diag(*inverse)
    if loss == "softmax":
        mean = np.kron(np.full((K, K), 1 / K), np.eye(D + fit_intercept))
        pull = np.diag([1 / l2 if l2 else 0.0] * D + [0.0] * fit_intercept)
        away = np.eye(len(mean)) - mean
        inverse = away @ inverse @ away + np.kron(np.full((K, K), 1 / K), pull)
    np.testing.assert_allclose(M, inverse, rtol=1e-8, atol=1e-8)


def test_the_gram_matrix_is_summed_once():
    X, y, weight, params = draw()
    obj = of("softmax", X, y, weight)
    obj._preconditioning.__dict__["form"] = ("kronecker", np.float64)
    for n_passes in (2, 3, 4):  # the matrix and the curvatures, then the curvatures alone
        obj.preconditioner(obj.pack(*params))
        assert obj.passes == n_passes


def test_a_gram_matrix_of_rows_that_depend_on_one_another_and_a_class_without_curvature():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(3, 5)) + 1e3
    ones = np.column_stack((X, np.ones(3)))
    rows = kronecker.spectrum(ones.T @ ones, 3.0, True)
    assert rows.values[0] > 0.0
    for curvatures in (np.array([0.2, 0.0]), np.zeros(2)):
        vector = Params(rng.normal(size=(2, 5)), rng.normal(size=2))
        kronecker.inverse(rows, curvatures, 0.0, True)(vector)
        assert np.isfinite(vector.coef).all()
        assert np.isfinite(vector.intercept).all()
    with pytest.raises(FloatingPointError, match="not finite"):
        kronecker.spectrum(np.full((3, 3), np.inf), 1.0, True)


@pytest.mark.parametrize("l2", [0.0, 1e-30])
@pytest.mark.parametrize("loss", LOSSES)
def test_where_no_row_lies_the_whole_hessian_goes_nowhere(loss, l2):
    X, y, weight, params = draw(loss=loss, n=5)  # of rows with weight there are four, of columns seven
    obj = SoftmaxObjective(X, y, l2=l2, n_classes=K, loss=loss, sample_weight=weight)
    M = by_class(matrix_of(obj.preconditioner(obj.pack(*params)), obj.n_params), obj)
    exact = oracle(X, weight, params, loss=loss).reshape(M.shape)
    # Of a column that is zero in all rows with weight, l2 is all there is, and nothing of it is lost.
    some = exact.any(axis=0)
    assert np.count_nonzero(~some) == K
    M, exact = M[some][:, some], exact[some][:, some]
    n_dims = 4 * (K - (loss == "softmax"))
    assert np.linalg.matrix_rank(exact) == n_dims
    assert np.linalg.matrix_rank(M, tol=1e-6 * np.abs(M).max()) == n_dims
    np.testing.assert_allclose(exact @ M @ exact, exact, rtol=1e-6, atol=1e-9)


def test_the_form_goes_by_size():
    forms = {(4, 63): "full", (10, 784): "block diagonal", (200, 256): "kronecker", (1000, 768): "kronecker"}
    forms |= {(1000, 1500): "diagonal", (20, 1000): "diagonal", (4, 130_000): "diagonal"}
    assert {shape: choice.form_of(*shape)[0] for shape in forms} == forms


def test_a_sample_takes_the_diagonal_of_all_rows(monkeypatch):
    """A column that is zero in every sampled row must not get an endless step."""
    for name in ("ROWS_PER_COLUMN", "SAMPLE_WORK", "SMALL_BUILD"):
        monkeypatch.setattr(choice, name, 0)
    X, y, _, params = draw(n=400)
    weight = np.ones(400)
    X[:, 2] = 0.0
    numbered = RowBlock(np.arange(400)[:, None], y, weight)
    chosen = ArraySource(numbered, None, K).sample(25)._blocks[0].X[:, 0]
    left_out = np.setdiff1d(np.arange(400), chosen)
    X[left_out[:5], 2] = 3.0
    obj = of("softmax", X, y, weight)
    obj._preconditioning.__dict__["form"] = ("block diagonal", np.float64)
    monkeypatch.setattr(choice, "ROWS_PER_COLUMN", 25 / (D + 1))
    x = obj.pack(*params)
    M = np.diag(matrix_of(obj.preconditioner(x), obj.n_params))
    curvature = obj.diagonal(x)
    rare = obj.pack(np.tile(np.arange(D) == 2, (K, 1)), np.zeros(K)) > 0
    pull = 1 / (K * L2)  # of the direction that all classes share
    assert np.all(M[rare] - pull < 2 / curvature[rare])


@pytest.mark.parametrize("form", ["full", "block diagonal"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_at_zero_one_gram_matrix_inverts_the_hessian(loss, fit_intercept, form):
    X, y, weight, _ = draw(loss=loss)
    obj = of(loss, X, y, weight, fit_intercept=fit_intercept)
    obj._preconditioning.__dict__["form"] = (form, np.float64)
    zero = np.zeros(obj.n_params)
    inverse = obj.preconditioner(zero)
    assert obj.passes == 1  # no labels and no logits were looked at
    for seed in range(3):
        v = np.random.default_rng(seed).normal(size=obj.n_params)
        if loss == "softmax" and fit_intercept:
            v[-K:] -= v[-K:].mean()
        np.testing.assert_allclose(inverse(obj.hessp(zero, v)), v, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_at_zero_a_sample_has_the_diagonal_of_all_rows(loss, monkeypatch):
    monkeypatch.setattr(choice, "ROWS_PER_COLUMN", 10 / (D + 1))
    monkeypatch.setattr(choice, "SAMPLE_WORK", 0)
    monkeypatch.setattr(choice, "SMALL_BUILD", 0)
    X, y, weight, _ = draw(loss=loss)
    X[:, 1:] = 0.0  # one column: its blocks are known by their diagonal, but for the intercept
    obj = of(loss, X, y, weight, fit_intercept=False)
    obj._preconditioning.__dict__["form"] = ("block diagonal", np.float64)
    zero = np.zeros(obj.n_params)
    v = np.random.default_rng(0).normal(size=obj.n_params)
    inverse = obj.preconditioner(zero)
    assert obj.passes == 2
    np.testing.assert_allclose(inverse(obj.hessp(zero, v)), v, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_hessian_at_a_point_is_hessp_there(loss, kept, storage, monkeypatch):
    if not kept:
        monkeypatch.setattr(source_objective, "LOGITS_BYTES", 0)
        monkeypatch.setattr(source_objective, "LOGITS_VECTORS", 0)
    X, y, weight, params = draw(loss=loss)
    obj = of(loss, STORAGES[storage](X), y, weight)
    x = obj.pack(*params)
    wanted = oracle(X, weight, params, L2, loss).reshape(obj.n_params, obj.n_params)
    product = obj.hessian(x)
    assert obj.passes == kept
    np.testing.assert_allclose(
        by_class(matrix_of(product, obj.n_params), obj), wanted, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("kept", [True, False])
def test_products_at_changing_points_are_those_of_each(kept, monkeypatch):
    """The logits that are kept are never those of a point that has been left, or changed in place."""
    if not kept:
        monkeypatch.setattr(source_objective, "LOGITS_BYTES", 0)
        monkeypatch.setattr(source_objective, "LOGITS_VECTORS", 0)
    X, y, weight, params = draw()
    obj = of("softmax", X, y, weight)
    x, v = obj.pack(*params), np.linspace(-1.0, 1.0, obj.n_params)
    for scale in (1.0, 0.5, 0.5, 1.0):
        fresh = of("softmax", X, y, weight)
        moved = scale * obj.pack(*params)
        x[:] = moved
        np.testing.assert_array_equal(obj.hessp(x, v), fresh.hessp(moved, v))
    assert obj.passes == 4 + 3 * kept


def test_a_sample_is_made_of_the_sources_rows_and_always_the_same():
    X, y, weight, _ = draw(n=100)
    for rows in (X, design_matrix(sp.csr_array(X))):
        source = ArraySource(RowBlock(rows, y, weight), None, K, block_rows=33)
        some, again = (source.sample(41)._blocks for _ in range(2))
        target = np.concatenate([block.target for block in some])
        assert len(target) == 41
        assert source.sample(100) is source
        for one, other in zip(some, again, strict=True):
            np.testing.assert_array_equal(one.target, other.target)
        found = np.vstack([dense(block.X) for block in some])
        assert {tuple(row) for row in found} <= {tuple(row) for row in X}


def dense(X):
    return (
        X
        if isinstance(X, np.ndarray)
        else sp.csr_array((X.data, X.indices, X.indptr), shape=X.shape).toarray()
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_the_objective_in_float64_has_float64_products(loss):
    X, y, weight, params = draw(np.float32, loss)
    X += np.float32(1000)  # so that float32 logits lose three digits
    coarse = of(loss, X, y, weight)
    exact = of(loss, X.astype(np.float64), y, weight)
    x = exact.pack(*params)
    refined = coarse.in_float64()
    assert refined.in_float64() is None
    assert exact.in_float64() is None
    np.testing.assert_allclose(refined.value_and_grad(x)[0], exact.value_and_grad(x)[0], rtol=1e-14)
    np.testing.assert_allclose(refined.value_and_grad(x)[1], exact.value_and_grad(x)[1], rtol=1e-11)
    np.testing.assert_allclose(refined.hessp(x, x), exact.hessp(x, x), rtol=1e-9, atol=1e-9)
    assert abs(coarse.value(x) / exact.value(x) - 1) > 1e-9
