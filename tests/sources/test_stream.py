"""Law: rows that are read anew for every query give the bits of the same blocks in memory."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import losses, open_rows, rows_from
from fastsoftmax.contracts import RowBlock
from fastsoftmax.contracts.queries import LossGrad
from fastsoftmax.data import validation
from fastsoftmax.data.blocks.targets import Targets
from fastsoftmax.objective.source_objective import SourceObjective
from fastsoftmax.penalties.squared_norm import SquaredNorm
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.solvers import lbfgs
from fastsoftmax.sources.array import ArraySource
from fastsoftmax.sources.stream import StreamSource
from tests.sources.test_travelling_source import STORAGES, TARGETS, D, K, N, everything

L2 = 0.02


def problem(storage, target):
    rng = np.random.default_rng(5)
    X = STORAGES[storage](rng.normal(size=(N, D)))
    y = rng.integers(0, K, N)
    y[:K] = np.arange(K)
    if target == "probabilities":
        y = rng.dirichlet(np.ones(K), N)
    if target == "sigmoid":
        y = (rng.random((N, K)) < 0.4).astype(float)
    return X, y, np.where(np.arange(N) % 7 == 3, 0.0, rng.uniform(0.5, 2.0, N))


def streamed(X, y, w, block_rows, name, *, pause=0.0, n_threads=1, smoothing=0.05, memory=800):
    """The objective of a stream of blocks; with little memory none is kept."""

    def make():
        for start in range(0, X.shape[0], block_rows):
            if pause:
                time.sleep(pause * (start % 3))
            part = slice(start, start + block_rows)
            yield X[part], y[part], w[part]

    rows = rows_from(make, memory=memory)
    look = rows.look()
    assert look.kept is None
    is_matrix = np.ndim(y) == 2
    targets = Targets(np.arange(K), K, name, is_matrix, look.dtype)
    like = np.zeros((1, K), look.dtype) if is_matrix else np.zeros(1, np.int64)
    loss = losses.family(name).for_targets(like, K, label_smoothing=smoothing)
    source = StreamSource(rows, targets, loss, n_threads, BufferPool())
    return SourceObjective(source, loss, penalty=SquaredNorm(L2), n_threads=n_threads), rows


def in_memory(X, y, w, block_rows, name, smoothing=0.05):
    rows = validation.design_matrix(X)
    target = validation.targets(y, K, name, rows)
    loss = losses.family(name).for_targets(target, K, label_smoothing=smoothing)
    source = ArraySource(RowBlock(rows, target, w), loss, K, n_threads=1, block_rows=block_rows)
    return SourceObjective(source, loss, penalty=SquaredNorm(L2), n_threads=1)


@pytest.mark.parametrize("block_rows", [N, 7, 40])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("storage", STORAGES)
def test_answers_are_those_of_blocks_in_memory(storage, target, block_rows):
    X, y, w = problem(storage, target)
    name = "sigmoid" if target == "sigmoid" else "softmax"
    there, _ = streamed(X, y, w, block_rows, name)
    here = in_memory(X, y, w, block_rows, name)
    # The number of readings is another: logits are not kept, and samples are in memory.
    assert without_passes(everything(there), there) == without_passes(everything(here), here)


def without_passes(found, objective):
    return [each for each in found if each != np.asarray(objective.passes).tobytes()]


def test_neither_threads_nor_the_time_of_reads_change_a_bit():
    X, y, w = problem("float32", "labels")
    x = np.random.default_rng(1).normal(size=K * (D + 1))
    found = []
    for n_threads, pause in ((1, 0.0), (2, 0.0), (2, 0.002)):
        objective, _ = streamed(X, y, w, 7, "softmax", n_threads=n_threads, pause=pause)
        value, grad = objective.value_and_grad(x)
        found.append((value, grad.tobytes(), objective.lower_bound(x, value, grad)))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("storage", ["float64", "CSR"])
def test_a_minimisation_of_one_block_has_the_bits_of_arrays(storage):
    X, y, w = problem(storage, "labels")
    there, _ = streamed(X, y, w, N, "softmax")
    here = in_memory(X, y, w, None, "softmax")
    found, expected = (lbfgs.minimize(each, np.zeros(each.n_params), tol=1e-9) for each in (there, here))
    assert found.x.tobytes() == expected.x.tobytes()
    assert (found.value, found.gap) == (expected.value, expected.gap)


def test_passes_are_readings():
    X, y, w = problem("float64", "labels")
    objective, rows = streamed(X, y, w, 40, "softmax")
    first = rows.n_readings
    solution = lbfgs.minimize(objective, np.zeros(objective.n_params), tol=1e-6)
    assert solution.converged
    assert objective.passes == rows.n_readings - first == solution.history[-1].passes


@pytest.mark.parametrize("dense", [True, False])
def test_samples_are_nested_and_do_not_depend_on_the_blocks(dense):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 8))
    X = X if dense else sp.csr_array(np.where(X > 0.5, X, 0))
    y = rng.integers(0, K, 5000)
    sources = [
        streamed(X, y, np.ones(5000), step, "softmax", memory="200K")[0]._rows.source for step in (999, 64)
    ]
    pools = [source._rows.look().sample for source in sources]
    shared = min(len(pool.position) for pool in pools)
    assert 200 < shared < 5000
    assert pools[0].first(200).position.tolist() == pools[1].first(200).position.tolist()
    few, more = (sources[0].sample(m) for m in (50, 120))
    assert (few.spec.n_rows, more.spec.n_rows) == (50, 120)
    assert pools[0].first(10**6) is pools[0]  # held once
    assert (np.diff(pools[0].position) > 0).all()
    assert set(pools[0].first(50).position) < set(pools[0].first(120).position)
    first = pools[0].first(50)
    if dense:
        np.testing.assert_array_equal(first.X, X[first.position])
    assert sources[0].sample(10**6) is sources[0]
    # nothing of the rows' order: halves of the positions are met alike
    assert 0.4 < np.mean(pools[0].position < 2500) < 0.6


def test_an_exception_while_a_block_is_computed_on_ends_the_reading(monkeypatch):
    X, y, w = problem("float64", "labels")
    objective, _ = streamed(X, y, w, 7, "softmax")

    class Failing(LossGrad):
        def on(self, *arguments):
            raise KeyboardInterrupt

    source = objective._rows.source
    params = objective.unpack(np.zeros(objective.n_params))
    with pytest.raises(KeyboardInterrupt):
        source.sum(Failing(params))
    assert not [t for t in threading.enumerate() if t.name == "fastsoftmax-reading"]
    assert source.sum(LossGrad(params)).value == objective._rows.source.sum(LossGrad(params)).value


def test_files_in_blocks_are_a_source(tmp_path):
    X, y, w = problem("float32", "labels")
    np.save(tmp_path / "X.npy", X)
    rows = open_rows(tmp_path / "X.npy", target=y, sample_weight=w, memory="1K")
    loss = losses.family("softmax").for_targets(np.zeros(1, np.int64), K, label_smoothing=0.05)
    targets = Targets(rows.classes, K, "softmax", False, np.dtype(np.float32))
    source = StreamSource(rows, targets, loss, 1, BufferPool())
    assert source.spec[:4] == (N, D, K, np.float32)
    assert source.spec.weight == pytest.approx(w.sum(), rel=1e-14)
    objective = SourceObjective(source, loss, penalty=SquaredNorm(L2), n_threads=1)
    x = np.random.default_rng(1).normal(size=objective.n_params)
    value, grad = objective.value_and_grad(x)
    expected, its_grad = in_memory(X, y, w, None, "softmax").value_and_grad(x)
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(grad, its_grad, atol=1e-6)
