"""Law: the benchmark reads times to the optimum off its curves correctly."""

import time

import numpy as np
import pytest

from bench.contenders import Fitted, Timed, TimeLimitError
from bench.measure.curves import Point, alarm, by_budgets, next_budget, time_to

NOTHING = np.zeros((2, 1)), np.zeros(2)


def solver(seconds_of, iterations_at_most):
    def at_budget(budget):
        iterations = min(budget, iterations_at_most)
        return Timed(Fitted(*NOTHING, iterations, iterations), seconds_of(iterations))

    return at_budget


def test_time_between_points_is_that_of_a_power_law():
    # excess = seconds⁻³ and passes = 10 seconds are straight lines in logarithms
    points = [Point(s, s**-3, 10 * s) for s in (1.0, 4.0, 16.0)]
    for level in (1e-1, 1e-2, 1e-3):
        found = time_to(points, level, between=True)
        # a few operations on logarithms of at most 7
        np.testing.assert_allclose(
            [found.seconds, found.passes], [level ** (-1 / 3), 10 * level ** (-1 / 3)], rtol=1e-14
        )


def test_time_of_a_step_is_that_of_the_first_point_below():
    points = [Point(1.0, 1e-1, 1), Point(2.0, 1e-3, 2), Point(3.0, 1e-2, 3)]
    assert time_to(points, 1e-2, between=False) == points[1]
    assert time_to(points, 1e-1, between=True) == points[0]
    assert time_to(points, 1e-4, between=True) is None


def test_a_run_that_was_held_up_does_not_count():
    points = [Point(1.0, 1e-1, 1), Point(9.0, 1e-2, 2), Point(4.0, 1e-3, 3)]
    assert time_to(points, 1e-3, between=True).seconds == pytest.approx(4.0, rel=1e-14)
    assert time_to(points, 1e-2, between=True).seconds == pytest.approx(2.0, rel=1e-14)


def test_budgets_grow_to_the_limit_and_no_further():
    curve = by_budgets(solver(lambda n: 0.1 * n, 10**6), lambda fitted: 1 / fitted.iterations, limit=2.0)
    assert curve.ended == "time limit"
    assert [point.passes for point in curve.points] == [1, 2, 4, 7, 12, 18]  # the last: 0.9 × 2 s
    assert next_budget(18, 1.8, 2.0) == 0


def test_a_solver_that_ends_by_itself_is_not_run_again():
    curve = by_budgets(solver(lambda n: 0.1, 3), lambda fitted: 0.5, limit=2.0)
    assert curve.ended == "stopped"
    assert [point.passes for point in curve.points] == [1, 2, 3]


def test_a_run_beyond_the_limit_is_no_point():
    curve = by_budgets(solver(lambda n: 3.0, 10), lambda fitted: 0.5, limit=2.0)
    assert curve == ([], "time limit")


def test_alarm_ends_what_takes_too_long():
    with pytest.raises(TimeLimitError), alarm(0.05):
        time.sleep(10)
