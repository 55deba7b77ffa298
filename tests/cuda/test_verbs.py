"""Law: on the device, the objective and the classifier are what they are on the CPU.

Sums may be added in another order, so results agree to some eps of the type of the products. In the
simulator, NumPy takes CuPy's place.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxObjective, SoftmaxRegression, devices
from fastsoftmax.contracts import Params, Resident, Task
from fastsoftmax.kernels.cuda import blocks
from fastsoftmax.losses import sigmoid, softmax
from tests import naive
from tests.tolerance import assert_close

N, D, K = 9, 4, 3


def rows_of(kind):
    rng = np.random.default_rng(0)
    if kind == "sparse":
        return sp.random_array((N, D), density=0.6, rng=rng, format="csr", dtype=np.float64)
    if kind == "columns":
        return np.asfortranarray(rng.normal(size=(N, D)))
    if kind == "uint8":
        return rng.integers(0, 4, (N, D)).astype(np.uint8)
    return rng.normal(size=(N, D)).astype(kind)


def targets_of(kind):
    rng = np.random.default_rng(1)
    if kind == "labels":
        return rng.integers(0, K, N), "softmax"
    if kind == "probabilities":
        return rng.dirichlet(np.ones(K), N), "softmax"
    return rng.random((N, K)), "sigmoid"


STORED = ["float64", "float32", "float16", "uint8", "columns", "sparse"]
TARGETS = ["labels", "probabilities", "sigmoids"]


def pair(stored, targets, **options):
    """The objective on the CPU and on the device, a point, a direction, and the dtype of the products."""
    X = rows_of(stored)
    y, loss = targets_of(targets)
    weight = np.where(np.arange(N) == 4, 0.0, np.linspace(0.5, 2.0, N))
    made = [
        SoftmaxObjective(X, y, l2=0.1, n_classes=K, sample_weight=weight, loss=loss, device=device, **options)
        for device in ("cpu", "cuda")
    ]
    rng = np.random.default_rng(2)
    point, direction = rng.normal(size=(2, made[0].n_params))
    return *made, point, direction, np.float64 if stored in ("float64", "columns", "sparse") else np.float32


@pytest.fixture(params=["whole", "few", "few from the host"])
def chunk(request, monkeypatch):
    """All rows at once, or a few at a time: some are left over."""
    if request.param != "whole":
        monkeypatch.setattr(blocks, "CHUNK_BYTES", 4 * 8 * D)
    if request.param == "few from the host":
        monkeypatch.setattr(blocks, "fits", lambda n_bytes: False)


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("stored", STORED)
def test_a_pass_is_the_cpus(stored, targets, chunk):
    cpu, cuda, x, v, dtype = pair(stored, targets, label_smoothing=0.1)
    value, grad = cpu.value_and_grad(x)
    own_value, own_grad = cuda.value_and_grad(x)
    assert_close(own_value, value, dtype=dtype, n_terms=D)
    assert_close(own_grad, grad, dtype=dtype, n_terms=N)
    assert_close(cuda.hessp(x, v), cpu.hessp(x, v), dtype=dtype, n_terms=N)
    assert_close(cuda.diagonal(x), cpu.diagonal(x), dtype=dtype, n_terms=N)
    assert_close(cuda.hessian(x)(v), cpu.hessp(x, v), dtype=dtype, n_terms=N)
    bounds = [objective.lower_bound(x, value, grad) for objective in (cuda, cpu)]
    assert_close(*bounds, dtype=dtype, n_terms=N)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("stored", ["float64", "uint8", "sparse"])
def test_gram_matrices_are_the_cpus(stored, targets, pairs, chunk):
    *both, x, _, dtype = pair(stored, targets)
    lower = np.tril(np.ones((D + 1, D + 1), bool))
    for params in (both[0].unpack(x), None):
        if params is None and pairs:
            continue
        task = Task("gram", both[0]._loss, params, (pairs,), np.float64)
        expected, own = (objective._sum(task).coef[:, lower] for objective in both)
        assert_close(own, expected, dtype=dtype, n_terms=N)


def test_several_parameters_at_once():
    cpu, cuda, x, v, dtype = pair("float64", "labels")
    for own, expected in zip(
        cuda.values_and_grads([x, v], [0.1, 0.2]), cpu.values_and_grads([x, v], [0.1, 0.2])
    ):
        assert_close(own, expected, dtype=dtype, n_terms=N)


@pytest.mark.parametrize("targets", TARGETS)
def test_a_pass_is_the_oracles(targets):
    _, cuda, x, v, _ = pair("float64", targets)
    y, loss = targets_of(targets)
    weight = np.where(np.arange(N) == 4, 0.0, np.linspace(0.5, 2.0, N))
    coef, intercept = cuda.unpack(x)
    X = rows_of("float64")
    soft = {"soft": True} if targets == "probabilities" else {}
    value, g_coef, g_intercept = naive.objective(
        X, y, coef, intercept, l2=0.1, sample_weight=weight, loss=loss, **soft
    )
    assert_close(cuda.value_and_grad(x)[0], value, n_terms=D)
    assert_close(cuda.value_and_grad(x)[1], cuda.pack(g_coef, g_intercept), n_terms=N)
    curved = naive.hessp(X, coef, intercept, *cuda.unpack(v), l2=0.1, sample_weight=weight, loss=loss)
    assert_close(cuda.hessp(x, v), cuda.pack(*curved), n_terms=N)


def test_the_bits_are_the_same_from_run_to_run():
    *_, cuda, x, _, _ = pair("float32", "labels")
    first, second = (cuda.value_and_grad(x) for _ in range(2))
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])


def test_rows_are_copied_once(xp):
    if xp is np:
        pytest.skip("the simulator reads the host's memory")
    *_, cuda, x, _, _ = pair("float32", "labels")
    (block,) = cuda._source.map(lambda block: block)
    assert isinstance(block.X, Resident)
    cuda.value(x)
    kept = dict(block.X.kept)
    cuda.value(x)
    assert kept.keys() == block.X.kept.keys()
    assert all(block.X.kept[key][1] is kept[key][1] for key in kept)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_fit_is_the_cpus(dtype, solver):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(24, 3)).astype(dtype), rng.integers(0, 3, 24)
    cpu, cuda = (SoftmaxRegression(solver=solver, device=device).fit(X, y) for device in ("cpu", "cuda"))
    # F is strongly convex with l2 = 1 / n: ‖W − W*‖² ≤ 2 gap / l2, for either of them.
    reach = 2 * np.sqrt(2 * 1e-6 * cpu.objective_ * len(y))
    assert np.linalg.norm(cuda.coef_ - cpu.coef_) <= reach
    assert cuda.duality_gap_ <= 1e-6 * cuda.objective_
    np.testing.assert_allclose(cuda.predict_proba(X), cpu.predict_proba(X), atol=2 * reach)
    own = SoftmaxRegression(device="cpu")
    own.__dict__.update(cuda.__dict__ | {"device": "cpu"})  # the same coefficients, predicted with elsewhere
    np.testing.assert_array_equal(cuda.predict(X), own.predict(X))
    for a, b in zip(cuda.predict_top_k(X, 2), own.predict_top_k(X, 2)):
        np.testing.assert_allclose(a, b, rtol=64 * np.finfo(dtype).eps)
    for name in ("predict_proba", "predict_log_proba", "decision_function"):
        a, b = getattr(cuda, name)(X), getattr(own, name)(X)
        np.testing.assert_allclose(a, b, rtol=64 * np.finfo(dtype).eps, atol=64 * np.finfo(dtype).eps)


def test_equal_logits_are_told_in_the_order_of_classes():
    device = devices.get("cuda")
    params = Params(np.zeros((5, 2)), np.array([1.0, 3.0, 3.0, 0.0, 3.0]))
    for k in (1, 4):
        top = device.top(params, np.ones((2, 2)), k, with_totals=True)
        np.testing.assert_array_equal(top.classes, [[1, 2, 4, 0][:k]] * 2)
        assert_close(top.totals, [3 + np.exp(-2.0) + np.exp(-3.0)] * 2)


@pytest.mark.parametrize("stored", ["float64", "sparse"])
def test_row_values_and_the_gradient_of_the_rows(stored):
    rng = np.random.default_rng(4)
    X, target = rows_of(stored), rng.integers(0, K, N)
    params = Params(rng.normal(size=(K, D)), rng.normal(size=K))
    loss = softmax.for_targets(target, K)
    results = []
    for name in ("cpu", "cuda"):
        objective = SoftmaxObjective(X, target, n_classes=K)
        (block,) = objective._source.map(lambda block: block)
        row_values, X_grad = np.zeros(N), np.zeros((N, D))
        devices.get(name).loss_grad(
            loss, params, block, row_values=row_values, X_grad=X_grad, coef_grad=False
        )
        results.append((row_values, X_grad))
    for own, expected in zip(results[1], results[0]):
        assert_close(own, expected, n_terms=K)


@pytest.mark.parametrize("make", [softmax.for_targets, sigmoid.for_targets])
def test_losses_of_rows_of_the_host(make):
    rng = np.random.default_rng(5)
    x, target = rng.normal(size=(N, K)), rng.dirichlet(np.ones(K), N)
    loss = make(target, K)
    results = []
    for name in ("cpu", "cuda"):
        row_values, slopes = np.zeros(N), np.zeros((N, K))
        value = devices.get(name).row_losses(loss, x, target, row_values=row_values, slopes=slopes)
        results.append((value, row_values, slopes))
    for own, expected in zip(results[1], results[0]):
        assert_close(own, expected, n_terms=K)
