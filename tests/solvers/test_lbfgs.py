"""Law: L-BFGS builds a preconditioner where that is likely to save more than it costs, at least once."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from fastsoftmax import SoftmaxObjective
from fastsoftmax.preconditioners import choice
from fastsoftmax.solvers import lbfgs

COST = 10.0
OBJECTIVE = SimpleNamespace(preconditioner_cost=lambda share: COST)


def due(decrements, n_steps, goal=1e-6, last_step=0, wait=4):
    builds = lbfgs._Builds(wait=wait, last_step=last_step)
    for decrement in decrements:
        builds.note(decrement)
    return builds.is_due(OBJECTIVE, n_steps, goal)


def falling(by, to=1e-3, n=4):
    """Estimates of F − F* that fall by a factor a step."""
    return [to * by ** (n - 1 - i) for i in range(n)]


def test_the_first_is_built_at_once():
    assert due([], 0)


def test_the_next_waits_until_steps_have_cost_as_much():
    slow = falling(1.01)
    assert not due(slow, 9)
    assert due(slow, 10)
    assert not due(slow, 29, last_step=20)
    assert not due(slow, 16, wait=17)


def test_with_the_goal_in_sight_none_is_built():
    """From 1e-3 to 1e-6 by a factor of 2 a step it takes ten steps; by 1.1, seventy."""
    assert not due(falling(2.0), 12)
    assert due(falling(1.1), 12)
    assert due(falling(2.0), 12, goal=1e-20)
    assert not due(falling(1.1, to=1e-7), 12)


def test_it_is_not_put_off_for_ever():
    """The estimate may be far too small, and a certificate want more."""
    assert not due(falling(1.1, to=1e-7), 39)
    assert due(falling(1.1, to=1e-7), 40)


def test_it_is_due_where_nothing_moves():
    assert due([1e-3, 2e-3, 1e-3, 2e-3], 10)
    assert due([0.0, 1e-3, -1e-3, 1e-3], 10)
    assert due([1e-3] * 4, 10, goal=0.0)


def test_waits_double_and_so_do_the_rows():
    builds = lbfgs._Builds()
    seen = []
    for n_steps in (0, 7, 30):
        builds.advance(n_steps)
        seen.append((builds.last_step, builds.wait, builds.fraction))
    assert seen == [(0, 4, 0.5), (7, 8, 1.0), (30, 16, 2.0)]


def test_what_a_preconditioner_costs():
    obj = SoftmaxObjective(np.eye(30), np.arange(30) % 3)
    assert obj.preconditioner_cost(1.0) == obj.preconditioner_cost(2.0)  # of all rows there are no more
    for form in ("full", "block diagonal"):
        costs = [choice.passes_worth(form, n_summed, 10**6, 4, 40) for n_summed in (10**3, 10**4, 10**5)]
        assert costs[0] > 1.0  # the diagonal of all rows
        assert costs == sorted(costs)
    few, many = (choice.passes_worth("block diagonal", 10**4, n, 10, 784) for n in (10**5, 10**6))
    assert few > 5.0 * many  # of a pass over fewer rows


def test_a_fit_that_arrives_at_once_builds_one():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(500, 8)), rng.integers(0, 3, 500)
    objective = SoftmaxObjective(X, y, l2=1.0)
    fractions = []
    build = objective.preconditioner
    objective.preconditioner = lambda x, fraction=1.0: (fractions.append(fraction), build(x, fraction))[1]
    solution = lbfgs.minimize(objective, np.zeros(objective.n_params), tol=1e-8)
    assert solution.converged
    assert fractions == [lbfgs.FIRST_FRACTION]
