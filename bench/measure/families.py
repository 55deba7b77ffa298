"""The worst of each family of problems: our time to each level beside the best of scikit-learn's solvers.

Curves are those of `optimum`. A contender that does not arrive in its seconds counts as if it arrived then: a
ratio is at least that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bench.contenders import OURS
from bench.measure import optimum
from bench.measure.curves import Point, time_to
from bench.problems.archives import DataMissingError
from bench.problems.descriptions import load
from bench.problems.families import families

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def measure(plan: Plan) -> Iterator[list[dict[str, Any]]]:
    """Give the benchmarks of each problem and penalty as soon as they are there."""
    for family, problems in families(plan.quick).items():
        for problem in problems if plan.words in family else ():
            try:
                data = load(problem)
            except DataMissingError as missing:
                print(f"{problem.name} left out: {missing}", flush=True)
                continue
            for C in plan.strengths:
                one = optimum.Plan((problem.name,), (C,), CONTENDERS, "float64", plan.limit)
                yield judged(family, optimum.group_of(problem, data._replace(C=C), one))


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
