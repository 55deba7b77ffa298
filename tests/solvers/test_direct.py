"""Law: a small problem reaches the certified optimum by the solver of small problems, or through it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_breast_cancer, load_digits

from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from fastsoftmax.contracts import State
from fastsoftmax.estimator import fitting, hyperparameters
from fastsoftmax.objective import direct as direct_objective
from fastsoftmax.solvers import direct, lbfgs, newton_cg

N, D = 157, 9


def problem(kind, storage="dense", **options):
    """An objective of a small problem, with columns of different scales, and weights of zero."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(N, D)) * np.geomspace(0.1, 10.0, D) + np.linspace(0.0, 3.0, D)
    weight = np.where(np.arange(N) % 7 == 3, 0.0, rng.uniform(0.3, 2.0, N))
    K = 4
    logits = X @ rng.normal(size=(D, K)) / 5.0
    if kind == "index":
        y, loss = (logits + rng.gumbel(size=(N, K))).argmax(axis=1), "softmax"
    elif kind == "soft":
        y, loss = rng.dirichlet(np.ones(K), N), "softmax"
    elif kind == "binary":
        y, loss = (logits[:, :1] > rng.normal(size=(N, 1))).astype(np.float64), "sigmoid"
    else:
        y, loss = (logits > rng.normal(size=(N, K))).astype(np.float64), "sigmoid"
    sparse = sp.csr_array(np.where(X > 1.0, X, 0.0))
    rows = {"dense": X, "float32": X.astype(np.float32), "csr": sparse}[storage]
    return SoftmaxObjective(rows, y, sample_weight=weight, loss=loss, **options)


def optimum_of(objective):
    exact = objective.in_float64() or objective
    return newton_cg.minimize(exact, np.zeros(objective.n_params), tol=1e-13, max_iter=300)


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("storage", ["dense", "float32", "csr"])
@pytest.mark.parametrize("kind", ["index", "soft", "binary", "labels"])
def test_the_optimum_is_reached_and_certified(kind, storage, C):
    objective = problem(kind, storage, l2=1.0 / (C * N))
    best = optimum_of(objective).value
    solution = direct.minimize(objective, np.zeros(objective.n_params), tol=1e-8)
    assert solution.converged
    assert solution.message == "certified"
    # Probabilities in float32 sum to one to 6e-8: the certificate is that of those that do.
    rounding = 1e-9 * best if (kind, storage) == ("soft", "float32") else 1e-13 * best
    assert -10.0 * rounding <= solution.value - best <= solution.gap * (1 + 1e-9) + rounding
    assert solution.gap <= 1e-8 * solution.value


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
def test_options_of_the_objective(fit_intercept, label_smoothing):
    objective = problem("index", l2=1e-2, fit_intercept=fit_intercept, label_smoothing=label_smoothing)
    solution = direct.minimize(objective, np.zeros(objective.n_params))
    assert len(solution.x) == objective.n_params
    value, grad = objective.value_and_grad(solution.x)
    assert solution.value == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(solution.grad, grad, atol=1e-12)
    assert 0.0 <= value - optimum_of(objective).value <= solution.gap <= 1e-6 * value


def test_a_start_elsewhere_and_one_at_the_optimum():
    objective = problem("index", l2=1e-2)
    cold = direct.minimize(objective, np.zeros(objective.n_params))
    far = direct.minimize(objective, np.random.default_rng(0).normal(size=objective.n_params))
    assert far.value == pytest.approx(cold.value, rel=2e-6)
    again = direct.minimize(objective, cold.x)
    assert len(again.history) == 1
    assert again.converged


def test_history_and_callbacks_are_those_of_a_solver():
    objective = problem("index", l2=1e-3)
    seen = []
    solution = direct.minimize(
        objective, np.zeros(objective.n_params), callback=lambda record, x: seen.append((record, x))
    )
    assert [record for record, _ in seen][:-1] == list(solution.history)[:-1]
    for record, x in seen:  # each is given a point that stays as it is
        assert record.objective == pytest.approx(objective.value(x), rel=1e-12)
    passes = [record.passes for record in solution.history]
    assert np.all(np.diff(passes) > 0)
    assert objective.passes > 0


@pytest.mark.parametrize("max_iter", [0, 1, 3])
def test_steps_are_limited(max_iter):
    objective = problem("index", l2=1e-5)
    solution = direct.minimize(objective, np.zeros(objective.n_params), max_iter=max_iter)
    assert not solution.converged
    assert len(solution.history) == max_iter + 1
    assert "max_iter" in solution.message


class Checkpoint:
    """A checkpoint that keeps every state."""

    def __init__(self, stored=None):
        self.stored, self.offered = stored, []

    def state(self):
        state, self.stored = self.stored, None  # at the first call only
        return state

    def offer(self, state):
        found = state()
        arrays = {name: array.copy() for name, array in found.arrays.items()}
        self.offered.append(State(dict(found.numbers), arrays))


@pytest.mark.parametrize("storage", ["dense", "csr"])
def test_a_fit_goes_on_from_any_state_to_the_same_bits(storage):
    first = Checkpoint()
    zero = np.zeros(problem("index", storage, l2=1e-4).n_params)
    whole = direct.minimize(problem("index", storage, l2=1e-4), zero, checkpoint=first)
    assert len(first.offered) > 5
    for state in first.offered[::4]:
        rest = direct.minimize(problem("index", storage, l2=1e-4), zero, checkpoint=Checkpoint(state))
        np.testing.assert_array_equal(rest.x, whole.x)
        assert [record[1:] for record in rest.history] == [record[1:] for record in whole.history]


def test_what_takes_many_steps_goes_on_with_a_preconditioner(monkeypatch):
    monkeypatch.setattr(direct_objective, "FEW_STEPS", 6)
    objective = problem("index", l2=1e-5)
    seen = []
    solution = direct.minimize(
        objective, np.zeros(objective.n_params), callback=lambda record, x: seen.append(record)
    )
    assert solution.converged
    assert len(seen) == len(solution.history) > 7
    before, after = solution.history[6:8]
    assert after.passes > before.passes + 1  # a preconditioner was built in between
    assert after.seconds >= before.seconds
    assert solution.value == pytest.approx(optimum_of(objective).value, rel=1e-6)


def test_wide_rows_go_on_in_their_row_space(monkeypatch):
    """To the same bits from a checkpoint, and with callbacks that see parameters of the features."""
    monkeypatch.setattr(direct_objective, "MAX_STEPS", 5)
    monkeypatch.setattr(direct, "_is_slow", lambda *arguments: False)
    rng = np.random.default_rng(4)
    X = rng.normal(size=(40, 300)) @ rng.normal(size=(300, 300))
    y = np.arange(40) % 3
    monkeypatch.setattr(fitting, "FEATURES_FIRST", 0)
    model = SoftmaxRegression(C=10.0)
    objective = model._prepared(X, y, None, hyperparameters.settle(model))[0].objective
    zero, seen = np.zeros(objective.n_params), []
    first = Checkpoint()
    whole = direct.minimize(
        objective, zero, checkpoint=first, callback=lambda record, x: seen.append((record, x))
    )
    assert whole.converged
    assert len(seen) == len(whole.history) > 6
    for record, x in seen:
        assert record.objective == pytest.approx(objective.value(x), rel=1e-10)
    assert whole.value == pytest.approx(objective.value(whole.x), rel=1e-10)
    np.testing.assert_allclose(whole.grad, objective.value_and_grad(whole.x)[1], atol=1e-10)
    assert [bool(state.numbers.get("rotated")) for state in first.offered[:6]] == [False] * 4 + [True] * 2
    for state in (first.offered[1], first.offered[-1]):
        rest = direct.minimize(objective, zero, checkpoint=Checkpoint(state))
        np.testing.assert_array_equal(rest.x, whole.x)
    records = []
    ended = direct.minimize(
        objective, zero, callback=lambda record, x: records.append(record) or "enough" * (len(records) > 6)
    )
    assert (ended.message, len(ended.history), ended.converged) == ("enough", 7, False)
    np.testing.assert_array_equal(ended.x, seen[6][1])


def test_a_slow_solver_is_told_by_the_rate_of_its_last_steps():
    falling = [1e-2 * 2.0**-i for i in range(direct.RATE_STEPS + 1)]
    now = falling[-1]
    goal = now * 2.0**-16  # another 16 steps
    assert direct._is_slow(falling, goal, 10.0)
    assert not direct._is_slow(falling, goal, 20.0)
    assert not direct._is_slow(falling, 2.0 * now, 0.1)  # there already
    assert not direct._is_slow(falling[1:], 1e-8, 1.0)  # too few steps to tell
    assert not direct._is_slow(falling, 1e-8, np.inf)
    assert direct._is_slow(falling[::-1], 1e-8, 30.0)  # it does not fall
    assert not direct._is_slow(falling[::-1], 1e-8, 100.0)  # what costs that much waits for more steps
    assert direct._is_slow(falling[::-1] * 4, 1e-8, 100.0)
    assert not direct._is_slow(falling[::-1], 1e-8, np.inf)  # nor does it yet, with nowhere better to go


def test_a_failed_search_goes_on_with_a_preconditioner(monkeypatch):
    objective = problem("index", l2=1e-3)
    monkeypatch.setattr(direct, "FAILED", direct.MOVED)
    solution = direct.minimize(objective, np.zeros(objective.n_params))
    assert solution.converged


def test_a_state_of_the_other_solver_is_continued_by_it():
    objective = problem("index", l2=1e-4)
    states = Checkpoint()
    whole = lbfgs.minimize(objective, np.zeros(objective.n_params), checkpoint=states)
    stored = Checkpoint(states.offered[2])
    rest = direct.minimize(problem("index", l2=1e-4), np.zeros(objective.n_params), checkpoint=stored)
    np.testing.assert_array_equal(rest.x, whole.x)


def test_the_bits_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr("fastsoftmax.kernels.cpu.direct.PART_WORK", 500)
    found = [direct.minimize(problem("index", n_threads=n, l2=1e-3), np.zeros(4 * (D + 1))).x for n in (1, 3)]
    np.testing.assert_array_equal(*found)


def test_which_objectives_are_small(monkeypatch):
    assert problem("index", l2=1e-3).direct is not None
    assert "direct" not in problem("index").offers  # without a penalty there is no certificate
    monkeypatch.setattr(direct_objective, "MAX_SECONDS", 1e-9)
    assert problem("index", l2=1e-3).direct is None
    monkeypatch.setattr(direct_objective, "MAX_SECONDS", 1.0)
    monkeypatch.setattr(direct_objective, "MAX_ENTRIES", N * D - 1)
    assert problem("index", l2=1e-3).direct is None


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_real_data_without_scaling(load):
    """breast_cancer's columns differ by five orders of magnitude; in digits three are constant."""
    X, y = load(return_X_y=True)
    model = SoftmaxRegression().fit(X, y)
    assert model.duality_gap_ <= 1e-6 * model.objective_
    exact = SoftmaxRegression(solver="newton-cg", tol=1e-10).fit(X, y)
    assert model.objective_ - exact.objective_ <= model.duality_gap_ + 1e-10 * exact.objective_
