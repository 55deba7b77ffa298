"""Law: a pass in which all threads share one gradient gives the sums of one in which each has its own."""

from __future__ import annotations

import numpy as np
import pytest

from fastsoftmax.contracts import Mixture, Params, RowBlock, compute_dtype
from fastsoftmax.kernels import cpu
from fastsoftmax.kernels.cpu import partition, shared_gradient
from fastsoftmax.losses import sigmoid, softmax
from fastsoftmax.runtime.blas import gemm_address
from fastsoftmax.runtime.jit import jit
from fastsoftmax.simd.gemm import product_to
from tests.tolerance import assert_as_accurate, assert_close

N, D, K = 83, 261, 517  # more than a piece in every direction, and what is left over


@pytest.fixture
def shared(monkeypatch):
    """Make every gradient too large for parts of its own, and tiles small."""
    monkeypatch.setattr(partition, "is_wide", lambda size: True)
    monkeypatch.setattr(shared_gradient, "MAX_ROWS", 32)


def problem(dtype, order="C", *, soft=False):
    rng = np.random.default_rng(11)
    X = np.asarray(rng.integers(-9, 9, (N, D)), order=order).astype(dtype, order="K")
    maps = [Params(rng.normal(size=(K, D)) / 50, rng.normal(size=K)) for _ in range(2)]
    weight = rng.integers(0, 3, N).astype(float)  # some rows do not count
    if soft:
        target = rng.dirichlet(np.ones(K), N).astype(np.float64 if dtype == "float64" else np.float32)
    else:
        target = rng.integers(0, K, N)
    return maps, RowBlock(X, target, weight)


def passes(loss, maps, block, n_threads):
    """Run every verb; yield its name, its sums, and what else it filled."""
    here, along = maps
    row_values, X_grad = np.zeros(N), np.zeros((N, D), compute_dtype(block.X))
    yield "loss_grad", cpu.loss_grad(loss, here, block, n_threads, row_values=row_values, X_grad=X_grad)
    yield "rows", row_values
    yield "X", X_grad
    yield "value", cpu.loss_grad(loss, here, block, n_threads, coef_grad=False)
    yield "hessp", cpu.hessp(loss, here, along, block, n_threads)
    kept = cpu.logits(here, block.X, n_threads)
    yield "hessp of kept logits", cpu.hessp(loss, here, along, block, n_threads, logits=kept)
    yield "diagonal", cpu.diagonal(loss, here, block, n_threads)
    yield (
        "dual",
        cpu.dual(loss, here, Mixture(np.linspace(-1, 1, K), 0.1, np.full(K, 1 / K)), block, n_threads),
    )


def flat(result):
    if isinstance(result, np.ndarray):
        return result.ravel()
    return np.concatenate(([result.value, result.weight], result.joined))


@pytest.mark.parametrize(
    ("dtype", "order", "family"),
    [
        ("float64", "C", softmax),
        ("float64", "C", sigmoid),
        ("float32", "F", softmax),
        ("uint8", "C", softmax),
    ],
)
def test_the_sums_are_those_of_parts(dtype, order, family, request):
    maps, block = problem("int8" if dtype == "uint8" else dtype, order, soft=family is sigmoid)
    block = block._replace(X=block.X.astype(dtype, order="K") if dtype == "uint8" else block.X)
    loss = family.for_targets(block.target, K)
    expected = dict(passes(loss, maps, block, 1))
    request.getfixturevalue("shared")
    precision = compute_dtype(block.X)
    for name, result in passes(loss, maps, block, 2):
        assert_close(flat(result), flat(expected[name]), dtype=precision, n_terms=max(N, D))


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_do_not_depend_on_the_threads(dtype, monkeypatch):
    monkeypatch.setattr("fastsoftmax.runtime.executor.SMALL_WORK", 0)
    maps, block = problem(dtype)
    loss = softmax.for_targets(block.target, K)
    one, three = (dict(passes(loss, maps, block, n_threads)) for n_threads in (1, 3))
    for name, result in one.items():
        assert flat(result).tobytes() == flat(three[name]).tobytes(), name


def test_a_tile_fits_its_room():
    for n_features, n_outputs in ((2048, 128_256), (10, 262_144), (100_000, 1000)):
        rows = shared_gradient.rows_at_a_time(n_features, n_outputs, 4)
        assert (
            rows == shared_gradient.MIN_ROWS
            or rows * (n_outputs + n_features) * 4 <= shared_gradient.TILE_BYTES
        )


@jit
def product_of(function, a, b, out):
    product_to(function, a, b, out)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("left", ["rows", "columns", "gaps", "column gaps"])
@pytest.mark.parametrize("right", ["rows", "columns", "gaps", "column gaps"])
def test_products_of_pieces(left, right, dtype):
    def piece(n_rows, n_columns, kind):
        a = np.random.default_rng(n_rows).normal(size=(n_rows + 2, n_columns + 3)).astype(dtype)
        return {
            "rows": a[:n_rows, :n_columns].copy(),
            "columns": np.asfortranarray(a[:n_rows, :n_columns]),
            "gaps": a[1:-1, 2:-1],
            "column gaps": np.asfortranarray(a)[1:-1, 2:-1],
        }[kind]

    for m, k, n in ((5, 7, 3), (1, 4, 6), (4, 1, 1), (1, 1, 1), (3, 5, 1)):
        a, b = piece(m, k, left), piece(k, n, right)
        buffer = np.full((m + 1, n + 2), 9.0, dtype)
        product_of(gemm_address(np.dtype(dtype)), a, b, buffer[:m, :n])
        exact = a.astype(np.longdouble) @ b.astype(np.longdouble)
        assert_as_accurate(buffer[:m, :n], a @ b, exact, n_eps=2 * np.sqrt(k))
        assert np.all(buffer[m:] == 9)
        assert np.all(buffer[:, n:] == 9)
