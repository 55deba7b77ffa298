"""The worst of each family of problems: our time to each level beside the best of scikit-learn's solvers.

Curves are those of `optimum`. A contender that does not arrive in its seconds counts as if it arrived then: a
ratio is at least that.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.contenders import OURS
from bench.measure import optimum
from bench.measure.curves import Point, time_to
from bench.measure.steps import Step
from bench.problems.families import families

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.problems.descriptions import Problem

LEVELS = tuple(10.0**-digit for digit in range(1, 9))
OURS_ALONE = f"{OURS} auto"
CONTENDERS = (OURS_ALONE, "sklearn lbfgs", "sklearn newton-cg", "sklearn newton-cholesky")
QUICK_SECONDS, SECONDS = 0.6, 10.0
STRENGTHS, QUICK_STRENGTHS = (0.01, 1.0, 100.0), (1.0,)


class Plan(NamedTuple):
    """What is run: families whose names contain `words`, penalties, seconds a fit."""

    quick: bool
    words: str
    strengths: Sequence[float]
    limit: float


def steps(plan: Plan) -> list[Step]:
    """Give a step for each problem and penalty."""
    each = optimum.Plan((), (), CONTENDERS, "float64", plan.limit)
    bound = optimum.at_most(each)
    return [
        Step(f"{problem.name} C = {C:g}", functools.partial(group_of, family, problem, C, each), bound)
        for family, problems in families(plan.quick).items()
        if plan.words in family
        for problem in problems
        for C in plan.strengths
    ]


def group_of(family: str, problem: Problem, C: float, plan: optimum.Plan) -> list[dict[str, Any]]:
    """Run everybody on a problem with one penalty."""
    return judged(family, optimum.loaded_group_of(problem, C, plan))


def judged(family: str, group: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Note the family of a problem's curves, and with ours the ratios by level."""
    curves = {benchmark["extra_info"]["contender"]: benchmark["extra_info"] for benchmark in group}
    for noted in curves.values():
        noted |= {"family": "families", "part": family}
    limit = curves[OURS_ALONE]["limit_seconds"]
    times = {name: [seconds_to(noted, level) for level in LEVELS] for name, noted in curves.items()}
    ours = times.pop(OURS_ALONE)
    best = [min((seconds or limit for seconds in column), default=limit) for column in zip(*times.values())]
    ratios = [other / (own or limit) for own, other in zip(ours, best, strict=True)]
    curves[OURS_ALONE]["ratios"] = ratios
    print(f"  {family}: " + " ".join(f"{ratio:.2f}" for ratio in ratios), flush=True)
    return group


def seconds_to(noted: dict[str, Any], level: float) -> float | None:
    """Give when a curve first is at a level, or None."""
    points = [Point(*point) for point in noted["points"]]
    found = time_to(points, level, between=noted["contender"] != OURS_ALONE)
    return None if found is None else found.seconds
