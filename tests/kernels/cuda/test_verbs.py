"""Law: the verbs of a device give what dense float64 formulas in NumPy give, for rows of every storage.

One body for all devices: the CPU is one of them. In the simulator, NumPy takes CuPy's place.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.special

from fastsoftmax import DeviceUnavailable

pytest.importorskip("fastsoftmax.kernels.cuda.runtime", exc_type=DeviceUnavailable)

from fastsoftmax import devices
from fastsoftmax.contracts import Mixture, Params, Resident, RowBlock
from fastsoftmax.data import validation
from fastsoftmax.kernels.cuda import blocks
from fastsoftmax.losses import sigmoid, softmax
from fastsoftmax.sources.array import with_transpose
from tests import naive
from tests.tolerance import assert_close

N, D, K = 9, 4, 3
WEIGHT = np.where(np.arange(N) == 4, 0.0, np.linspace(0.5, 2.0, N))
SMOOTHING = 0.1
STORED = ["float64", "float32", "float16", "uint8", "columns", "sparse"]
TARGETS = ["labels", "probabilities", "sigmoids"]


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


def points():
    rng = np.random.default_rng(2)
    return [Params(rng.normal(size=(K, D)), rng.normal(size=K)) for _ in range(2)]


class Formulas:
    """The verbs on dense rows, in float64."""

    def __init__(self, X, kind):
        y, self.name = targets_of(kind)
        self.X = np.asarray(X.toarray() if sp.issparse(X) else X, np.float64)
        hard = np.eye(K)[y] if y.ndim == 1 else y
        spread = SMOOTHING / (2 if self.name == "sigmoid" else K)
        self.aim = (1 - SMOOTHING) * hard + spread

    def logits(self, params):
        return self.X @ params.coef.T + params.intercept

    def proba(self, params, intercept_shift=0.0):
        z = self.logits(params) + intercept_shift
        return scipy.special.expit(z) if self.name == "sigmoid" else scipy.special.softmax(z, axis=1)

    def back(self, multipliers, X=None):
        weighted = WEIGHT[:, None] * multipliers
        return weighted.T @ (self.X if X is None else X), weighted.sum(axis=0)

    def loss_grad(self, params):
        z, p = self.logits(params), self.proba(params)
        if self.name == "sigmoid":
            losses = (np.logaddexp(0, z) - self.aim * z).sum(axis=1)
        else:
            losses = -(self.aim * scipy.special.log_softmax(z, axis=1)).sum(axis=1)
        return WEIGHT @ losses, *self.back(p - self.aim)

    def curvature(self, params, k, other):
        p = self.proba(params)
        if self.name == "sigmoid":
            return (k == other) * p[:, k] * (1 - p[:, k])
        return p[:, k] * ((k == other) - p[:, other])

    def hessp(self, params, direction):
        s = self.logits(direction)
        curved = [sum(self.curvature(params, k, other) * s[:, other] for other in range(K)) for k in range(K)]
        return 0.0, *self.back(np.array(curved).T)

    def diagonal(self, params):
        return 0.0, *self.back(np.array([self.curvature(params, k, k) for k in range(K)]).T, self.X**2)

    def dual(self, params, intercept_shift, theta, q):
        p = (1 - theta) * self.proba(params, intercept_shift) + theta * q
        entropy = scipy.special.xlogy(p, p).sum(axis=1)
        if self.name == "sigmoid":
            entropy += scipy.special.xlogy(1 - p, 1 - p).sum(axis=1)
        return WEIGHT @ entropy, *self.back(p - self.aim)

    def shift_curvature(self, params, intercept_shift):
        p = self.proba(params, intercept_shift)
        if self.name == "sigmoid":
            return np.diag(WEIGHT @ (p * (1 - p)))
        return np.diag(WEIGHT @ p) - (WEIGHT[:, None] * p).T @ p

    def gram(self, params, pairs):
        joined = np.column_stack((self.X, np.ones(N)))
        if params is None:
            curvatures = [np.ones(N)]
        else:
            chosen = [(k, other) for k in range(K) for other in range(k + 1) if pairs or k == other]
            curvatures = [self.curvature(params, *pair) for pair in chosen]
        return np.array([(joined * (WEIGHT * c)[:, None]).T @ joined for c in curvatures])


def problem(stored, kind, name="cuda"):
    """The device's verbs, a loss, a placed block, the formulas, and the dtype of the products."""
    device = devices.get(name)
    X = rows_of(stored)
    y, loss_name = targets_of(kind)
    dtype = np.float64 if stored in ("float64", "columns", "sparse") else np.float32
    target = y if y.ndim == 1 else y.astype(dtype)
    family = {"softmax": softmax, "sigmoid": sigmoid}[loss_name]
    loss = family.for_targets(target, K, label_smoothing=SMOOTHING)
    block = device.placed(RowBlock(with_transpose(validation.design_matrix(X)), target, WEIGHT))
    return device, loss, block, Formulas(X, kind), dtype


def assert_sums(sums, value, coef, intercept, dtype):
    assert_close(sums.value, value, dtype=dtype, n_terms=N * K, scale=max(10.0, abs(value)))
    assert_close(sums.coef, coef, dtype=dtype, n_terms=N, scale=max(10.0, np.max(np.abs(coef))))
    assert_close(sums.intercept, intercept, dtype=dtype, n_terms=N, scale=10.0)
    assert_close(sums.weight, WEIGHT.sum())


@pytest.fixture(params=["cpu", "cuda"])
def name(request):
    """Every device, of which the CPU is one."""
    return request.param


@pytest.fixture(params=["cpu", "cuda", "cuda, few rows", "cuda, few rows from the host"])
def place(request, monkeypatch):
    """A device, with all rows at once, or a few at a time: some are left over."""
    if "few" in request.param:
        monkeypatch.setattr(blocks, "CHUNK_BYTES", 4 * 8 * D)
    if "host" in request.param:
        monkeypatch.setattr(blocks, "has_memory", lambda n_bytes: False)
    return request.param.partition(",")[0]


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("stored", STORED)
def test_a_pass(stored, kind, place):
    device, loss, block, formulas, dtype = problem(stored, kind, place)
    here, along = points()
    assert_sums(device.loss_grad(loss, here, block), *formulas.loss_grad(here), dtype)
    assert_sums(device.hessp(loss, here, along, block), *formulas.hessp(here, along), dtype)
    assert_sums(device.diagonal(loss, here, block), *formulas.diagonal(here), dtype)
    mixture = Mixture(np.array([0.5, -1.0, 0.0]), 0.25, np.array([0.5, 0.2, 0.3]))
    assert_sums(device.dual(loss, here, mixture, block), *formulas.dual(here, *mixture), dtype)
    kept = device.logits(here, block.X)
    assert_sums(device.dual(loss, here, mixture, block, logits=kept), *formulas.dual(here, *mixture), dtype)
    assert device.dual(loss, here, mixture, block, logits=kept, coef_grad=False).coef.size == 0
    shift = mixture.intercept_shift
    for known in (None, kept):
        sums = device.shift_curvature(loss, here, shift, block, logits=known)
        assert_close(sums.coef, formulas.shift_curvature(here, shift), dtype=dtype, n_terms=N, scale=10.0)
        assert_close(sums.weight, WEIGHT.sum())
        assert (sums.value, sums.coef.shape, sums.intercept.size) == (0.0, (K, K), 0)
    targets = device.target_sum(loss, block)
    assert_close(targets.intercept, WEIGHT @ formulas.aim, dtype=dtype, n_terms=N, scale=10.0)
    assert_close(targets.weight, WEIGHT.sum())
    assert (targets.value, targets.coef.size) == (0.0, 0)
    assert_sums(device.hessp(loss, here, along, block, logits=kept), *formulas.hessp(here, along), dtype)
    logits = device.logits(here, block.X.host if isinstance(block.X, Resident) else block.X)
    assert_close(logits, formulas.logits(here), dtype=dtype, n_terms=D, scale=10.0)
    assert logits.dtype == dtype


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("stored", ["float64", "uint8", "sparse"])
def test_gram_matrices(stored, kind, pairs, place):
    device, loss, block, formulas, dtype = problem(stored, kind, place)
    for params in [points()[0]] if pairs else [points()[0], None]:
        sums = device.gram(loss, params, pairs, block, dtype=np.float64)
        expected = formulas.gram(params, pairs)
        # Blocks are symmetric; what is above the diagonal is not defined.
        own, known = np.tril(sums.coef), np.tril(expected)
        assert_close(own, known, dtype=dtype, n_terms=N, scale=max(1.0, np.max(np.abs(known))))
        assert_close(sums.weight, WEIGHT.sum())


def test_an_unknown_storage_is_refused(name):
    device, loss, block, _, _ = problem("float64", "labels", name)
    rows = list(rows_of("float64"))
    with pytest.raises(TypeError, match=f"device '{name}' computes on rows stored as ndarray.*; got list"):
        device.logits(points()[0], rows, dtype=np.dtype(np.float64))
    with pytest.raises(TypeError, match="got list"):
        device.loss_grad(loss, points()[0], block._replace(X=rows), dtype=np.dtype(np.float64))


def test_float64_products_of_narrow_rows(name):
    device, loss, block, formulas, _ = problem("uint8", "labels", name)
    here = points()[0]
    sums = device.loss_grad(loss, here, block, dtype=np.float64)
    assert_sums(sums, *formulas.loss_grad(here), np.float64)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("stored", STORED)
def test_a_check_with_float64_products(stored, kind, name):
    device, loss, block, formulas, _ = problem(stored, kind, name)
    here, stored = points()
    sums = device.check(loss, stored, here, block)
    # Targets are those of the block, which are float32 where products with its rows are.
    dtype = np.float32 if block.target.dtype == np.float32 else np.float64
    value = formulas.loss_grad(stored)[0]
    assert_sums(sums, value, *formulas.loss_grad(here)[1:], dtype)
    alone = device.check(loss, stored, None, block)
    assert_close(alone.value, value, dtype=dtype, n_terms=N * K, scale=max(10.0, abs(value)))
    assert (alone.coef.size, np.abs(alone.intercept).max()) == (0, 0.0)


def test_several_parameters_at_once(name):
    device, loss, block, formulas, dtype = problem("float64", "labels", name)
    found = device.loss_grads(loss, points(), None, block)
    for sums, params in zip(found, points(), strict=True):
        assert_sums(sums, *formulas.loss_grad(params), dtype)
    weights = np.array([np.ones(N), WEIGHT])
    first, second = device.loss_grads(loss, points(), weights, block)
    assert_close(first.weight, N)
    assert_sums(second, *formulas.loss_grad(points()[1]), dtype)


@pytest.mark.parametrize("stored", ["float64", "sparse"])
def test_row_values_and_the_gradient_of_the_rows(stored, name):
    device, loss, block, formulas, _ = problem(stored, "labels", name)
    here = points()[0]
    row_values, X_grad = np.zeros(N), np.zeros((N, D))
    sums = device.loss_grad(loss, here, block, row_values=row_values, X_grad=X_grad, coef_grad=False)
    assert sums.coef.size == 0
    assert_close(row_values.sum(), formulas.loss_grad(here)[0], n_terms=N * K, scale=10.0)
    slopes = WEIGHT[:, None] * (formulas.proba(here) - formulas.aim)
    assert_close(X_grad, slopes @ here.coef, n_terms=K)


def test_the_bits_are_the_same_from_run_to_run(name):
    device, loss, block, _, _ = problem("float32", "labels", name)
    first, second = (device.loss_grad(loss, points()[0], block) for _ in range(2))
    assert first.value == second.value
    np.testing.assert_array_equal(first.joined, second.joined)


@pytest.mark.parametrize("stored", ["float64", "float32", "float16", "uint8"])
def test_the_bits_are_the_same_where_the_rows_do_not_fit(stored, monkeypatch):
    monkeypatch.setattr(blocks, "CHUNK_BYTES", 3 * 8 * D)  # two rows are left over
    here, along = points()
    mixture = Mixture(np.array([0.5, -1.0, 0.0]), 0.25, np.array([0.5, 0.2, 0.3]))

    def results():
        device, loss, block, _, _ = problem(stored, "labels")
        every = [
            device.loss_grad(loss, here, block),
            device.hessp(loss, here, along, block),
            device.diagonal(loss, here, block),
            device.dual(loss, here, mixture, block),
            device.gram(loss, here, False, block),
        ]
        return block, [sums.joined for sums in every], device.logits(here, block.X)

    whole = results()
    monkeypatch.setattr(blocks, "has_memory", lambda n_bytes: False)
    parts = results()
    for own, other in zip(parts[1], whole[1], strict=True):
        np.testing.assert_array_equal(own, other)
    assert bool((parts[2] == whole[2]).all())
    assert blocks.UPLOADERS not in whole[0].X.kept
    assert len(parts[0].X.kept[blocks.UPLOADERS]) == 1  # one pass after another: the same buffers for all


def test_passes_at_the_same_time_have_buffers_of_their_own(xp, monkeypatch):
    monkeypatch.setattr(blocks, "CHUNK_BYTES", 3 * 8 * D)
    monkeypatch.setattr(blocks, "has_memory", lambda n_bytes: False)
    rows = rows_of("float64")
    placed = blocks.placed(RowBlock(rows, np.zeros(N, np.int64), WEIGHT)).X
    matrices = [blocks.Matrix(placed) for _ in range(2)]
    passes = [matrix.chunks(K, 8) for matrix in matrices]
    for pieces in zip(*passes, strict=True):
        for piece, matrix in zip(pieces, matrices, strict=True):
            assert bool((matrix.dense(piece, np.float64) == xp.asarray(rows[piece])).all())
    assert len(placed.kept[blocks.UPLOADERS]) == 2
    for _ in matrices[0].chunks(K, 8):
        assert len(placed.kept[blocks.UPLOADERS]) == 1
    interrupted = matrices[0].chunks(K, 8)
    next(interrupted)
    interrupted.close()
    assert len(placed.kept[blocks.UPLOADERS]) == 1  # buffers that a pass was interrupted over are given up


def test_rows_are_copied_once(xp):
    if xp is np:
        pytest.skip("the simulator reads the host's memory")
    device, loss, block, _, _ = problem("float32", "labels")
    assert isinstance(block.X, Resident)
    device.loss_grad(loss, points()[0], block)
    kept = dict(block.X.kept)
    assert kept
    device.loss_grad(loss, points()[0], block)
    assert all(block.X.kept[key][1] is kept[key][1] for key in block.X.kept)


def test_of_equal_logits_the_earlier_class_comes_first(name):
    device = devices.get(name)
    params = Params(np.zeros((5, 2)), np.array([1.0, 3.0, 3.0, 0.0, 3.0]))
    for k in (1, 4):
        top = device.top(params, np.ones((2, 2)), k, with_totals=True)
        np.testing.assert_array_equal(top.classes, [[1, 2, 4, 0][:k]] * 2)
        assert_close(top.totals, [3 + np.exp(-2.0) + np.exp(-3.0)] * 2)


def test_rows_of_the_host(name):
    device = devices.get(name)
    rng = np.random.default_rng(5)
    x, target = rng.normal(size=(N, K)), rng.integers(0, K, N)
    row_values, slopes = np.zeros(N), np.zeros((N, K))
    loss = softmax.for_targets(target, K)
    value = device.row_losses(
        loss, x, target, weight=WEIGHT, ignore_index=0, row_values=row_values, slopes=slopes
    )
    options = {"sample_weight": WEIGHT, "ignore_index": 0}
    exact, gradient = naive.cross_entropy(x, target, reduction="none", **options)
    assert_close(value, np.sum(exact), n_terms=N)
    assert_close(row_values, exact, n_terms=K)
    assert_close(slopes, gradient, n_terms=K)
    for verb in ("softmax", "log_softmax"):
        out = np.empty_like(x)
        getattr(device, verb)(x, out)
        assert_close(out, [getattr(naive, verb)(row) for row in x], n_terms=K)
    sums = np.empty(N)
    device.logsumexp(x, sums)
    assert_close(sums, [naive.logsumexp(row) for row in x], n_terms=K)
    device.sigmoid(x, x)
    assert np.all((x > 0) & (x < 1))
