"""Law: nothing but queries reaches the rows: a source that pickles every query gives the same bits."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import devices, losses
from fastsoftmax.contracts import RowBlock
from fastsoftmax.data import validation
from fastsoftmax.objective import source_objective
from fastsoftmax.objective.source_objective import SourceObjective
from fastsoftmax.penalties.squared_norm import SquaredNorm
from fastsoftmax.solvers import lbfgs, newton_cg
from fastsoftmax.sources.array import ArraySource
from tests.interpreter import ROOT

N, D, K = 97, 6, 4
STORAGES = {
    "float64": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "float16": lambda X: X.astype(np.float16),
    "uint8": lambda X: np.clip(60 * X + 120, 0, 255).astype(np.uint8),
    "by columns": np.asfortranarray,
    "CSR": lambda X: sp.csr_array(np.where(X > 0, X, 0.0)),
    "CSR, float32": lambda X: sp.csr_array(np.where(X > 0, X, 0.0).astype(np.float32)),
}
TARGETS = ("labels", "probabilities", "sigmoid")
ANSWERING = """
import pickle, sys
from fastsoftmax import devices
from tests.interpreter import ROOT
requests, answers = sys.stdin.buffer, sys.stdout.buffer
while True:
    try:
        query, loss, block = pickle.load(requests)
    except EOFError:
        break
    answers.write(pickle.dumps(devices.answer(query, loss, "cpu", block, 1)))
    answers.flush()
"""


class TravellingSource(ArraySource):
    """Rows in memory that are asked as if far away: query, loss and block are pickled for every sum."""

    n_travelled = 0

    def _answer(self, query, block):
        TravellingSource.n_travelled += 1
        query, loss, block = pickle.loads(pickle.dumps((query, self._loss, block)))
        return pickle.loads(pickle.dumps(devices.answer(query, loss, "cpu", block, 1)))


class ForeignSource(ArraySource):
    """The same, answered by another process."""

    process = None

    def _answer(self, query, block):
        process = ForeignSource.process
        process.stdin.write(pickle.dumps((query, self._loss, block)))
        process.stdin.flush()
        return pickle.load(process.stdout)


@pytest.fixture
def other_process():
    command = [sys.executable, "-c", ANSWERING]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as ForeignSource.process:
        yield
        ForeignSource.process.stdin.close()
    ForeignSource.process = None


def rows_and_loss(storage, target):
    rng = np.random.default_rng(5)
    X = STORAGES[storage](rng.normal(size=(N, D)))
    y = rng.integers(0, K, N)
    if target == "probabilities":
        y = rng.dirichlet(np.ones(K), N)
    if target == "sigmoid":
        y = (rng.random((N, K)) < 0.4).astype(float)
    rows = validation.design_matrix(X)
    name = "sigmoid" if target == "sigmoid" else "softmax"
    checked = validation.targets(y, K, name, rows)
    weight = np.where(np.arange(N) % 7 == 3, 0.0, rng.uniform(0.5, 2.0, N))
    loss = losses.family(name).for_targets(checked, K, label_smoothing=0.05)
    return RowBlock(rows, checked, weight), loss


def objective_of(kind, rows, loss, block_rows, l2=0.02):
    source = kind(rows, loss, K, n_threads=1, block_rows=block_rows)
    return SourceObjective(source, loss, penalty=SquaredNorm(l2), n_threads=1)


def everything(objective):
    """All that an objective says, as bytes."""
    rng = np.random.default_rng(2)
    x, v = rng.normal(size=(2, objective.n_params))
    value, grad = objective.value_and_grad(x)
    product = objective.hessian(x)
    found = [
        value, grad, *objective.values_and_grads(np.stack([x, v, 0 * x]), l2=[0.0, 0.1, 0.02]),
        objective.hessp(x, v), product(v), product(grad), objective.diagonal(x),
        objective.preconditioner(x)(v), objective.preconditioner(0 * x)(v),
        objective.preconditioner(x, 0.3)(v),
        objective.inverse_hessian(x)(v), objective.lower_bound(x, value, grad), objective.passes,
    ]  # fmt: skip
    refined = objective.in_float64()
    if refined is not None:
        found += [*refined.value_and_grad(x), refined.hessp(x, v), refined.lower_bound(x, value, grad)]
    return [np.asarray(each).tobytes() for each in found]


@pytest.mark.parametrize("block_rows", [N, 7, 40])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("storage", STORAGES)
def test_pickled_questions_have_the_same_answers(storage, target, block_rows):
    rows, loss = rows_and_loss(storage, target)
    here = everything(objective_of(ArraySource, rows, loss, block_rows))
    before = TravellingSource.n_travelled
    assert everything(objective_of(TravellingSource, rows, loss, block_rows)) == here
    assert TravellingSource.n_travelled > before


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("form", ["block diagonal", "kronecker", "diagonal"])
def test_for_every_preconditioner_and_without_kept_logits(form, kept, monkeypatch):
    if not kept:
        monkeypatch.setattr(source_objective, "LOGITS_BYTES", 0)
        monkeypatch.setattr(source_objective, "LOGITS_VECTORS", 0)
    rows, loss = rows_and_loss("float32", "labels")
    found = []
    for kind in (ArraySource, TravellingSource):
        objective = objective_of(kind, rows, loss, 7)
        objective._preconditioning.__dict__["form"] = (form, np.float64)
        found.append(everything(objective))
    assert found[0] == found[1]


@pytest.mark.parametrize("block_rows", [N, 7, 40])
@pytest.mark.parametrize("storage", ["float32", "CSR"])
def test_another_process_gives_the_same_answers(storage, block_rows, other_process):
    rows, loss = rows_and_loss(storage, "labels")
    here = everything(objective_of(ArraySource, rows, loss, block_rows))
    assert everything(objective_of(ForeignSource, rows, loss, block_rows)) == here


@pytest.mark.parametrize("solver", [lbfgs, newton_cg])
def test_a_whole_minimisation_takes_the_same_steps(solver):
    rows, loss = rows_and_loss("float32", "probabilities")
    here, there = (
        solver.minimize(objective_of(kind, rows, loss, 7), np.zeros(K * (D + 1)), tol=1e-9)
        for kind in (ArraySource, TravellingSource)
    )
    assert here.converged
    assert here.x.tobytes() == there.x.tobytes()
    assert [record[1:] for record in here.history] == [record[1:] for record in there.history]


@pytest.mark.parametrize("storage", STORAGES)
def test_any_cut_of_the_rows_gives_nearly_the_same_sums(storage):
    rows, loss = rows_and_loss(storage, "labels")
    whole, cut = (objective_of(ArraySource, rows, loss, step) for step in (N, 7))
    x = np.random.default_rng(0).normal(size=whole.n_params)
    (value, grad), (other, other_grad) = whole.value_and_grad(x), cut.value_and_grad(x)
    # Tiles and parts begin elsewhere, so that sums of N terms are rounded otherwise.
    tolerance = 8 * np.sqrt(N) * np.finfo(np.float32 if whole.is_float32 else np.float64).eps
    assert other == pytest.approx(value, rel=tolerance)
    np.testing.assert_allclose(other_grad, grad, rtol=0, atol=tolerance * np.abs(grad).max())


def test_what_a_source_says_of_its_rows():
    rows, loss = rows_and_loss("uint8", "labels")
    spec = ArraySource(rows, loss, K, block_rows=40).spec
    assert spec[:4] == (N, D, K, np.float32)
    assert spec.weight == pytest.approx(rows.weight.sum(), rel=1e-15)
