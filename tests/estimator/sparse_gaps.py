"""`python -m tests.estimator.sparse_gaps [N]`: the gap of sparse models is never below F − F*, N problems.

The problems are those of `test_sparse_models`, which takes the first 40; F* is bounded from both sides by a
fit to a certified 10⁻⁹. Prints how many points were looked at, and fails at the first that is wrong.
"""

from __future__ import annotations

import sys

import numpy as np

from fastsoftmax.solvers import proximal_newton
from tests.estimator.test_sparse_models import problem


def main(n_problems: int) -> None:
    n_points, n_loose = 0, 0
    for seed in range(n_problems):
        objective, rng = problem(seed)
        best = proximal_newton.minimize(objective, np.zeros(objective.size), tol=1e-9, max_iter=300)
        n_loose += best.gap > 1e-8 * best.value
        for distance in (1.0, 1e-1, 1e-2, 1e-4, 1e-6):
            x = best.x + distance * rng.normal(size=best.x.size)
            value, grad = objective.value_and_grad(x)
            bound = objective.lower_bound(x, value, grad)
            assert bound <= best.value * (1.0 + 1e-12), (seed, distance, bound, best.value)
            n_points += 1
    print(f"{n_problems} problems, {n_points} points: no gap below F - F*; {n_loose} fits above 1e-8")
    assert n_loose == 0


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
