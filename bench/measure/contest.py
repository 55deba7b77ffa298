"""One problem, one operation, one contender: prepare, compare, time, note down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.contenders import CONTENDERS, OURS, NotOfferedError, bind, entrants, module_of, plain
from bench.measure import agreement, roofline
from bench.measure.timing import (
    PAUSE_AFTER_BLAS_SECONDS,
    PAUSE_SECONDS,
    calls_a_round,
    in_turn,
    once,
    seconds_of,
)
from bench.measure.yardsticks import copy
from bench.problems.archives import DataMissingError
from bench.problems.descriptions import Problem, load
from bench.problems.discovery import added_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.contenders import Call


def matches(
    problems: dict[str, Problem], operations: Iterable[str], occasional: Iterable[str] = ()
) -> list[Any]:
    """List (problem, operation, contender) for every contender that offers the operation.

    `occasional` operations are left to the full grid, as are problems that say so and, of a problem, the
    contenders that it calls dear.
    """
    return [
        pytest.param(key, operation, contender, id=f"{key}-{operation}-{contender}", marks=marks)
        for key, problem in problems.items()
        for operation in (*operations, *occasional)
        for contender in entrants(operation)
        for marks in [marks_of(problem, operation in occasional or contender in problem.dear)]
    ]


def matches_added(operations: Iterable[str]) -> list[Any]:
    """List the same for the problems of added files, each for the operations that it is given for."""
    return [match for operation in operations for match in matches(added_problems(operation), [operation])]


def marks_of(problem: Problem, occasional: bool) -> list[pytest.MarkDecorator]:
    """Mark what needs the data folder and what belongs to the full grid."""
    full = occasional or not problem.quick
    return [pytest.mark.data] * problem.real + [pytest.mark.full] * full


def data_of(problem: Problem) -> Any:
    """Load a problem, or skip the test saying what is missing."""
    try:
        return load(problem)
    except DataMissingError as missing:
        pytest.skip(str(missing))


def call_of(contender: str, operation: str, data: Any) -> Call:
    """Bind a contender, or skip the test saying what its version lacks."""
    try:
        return bind(contender, operation)(data)
    except NotOfferedError as lacking:
        pytest.skip(str(lacking))


def first_call(call: Call) -> tuple[Any, float]:
    """Call once, apart from all timing: this is where a contender may compile."""
    kept = []
    seconds = seconds_of(lambda: kept.append(call.run()))
    return call.read(kept[0]), seconds


def others_for(
    contender: str, operation: str, data: Any, yardsticks: dict[str, Callable[[], Any]]
) -> dict[str, Callable[[], Any]]:
    """Give those who take turns with a contender: the yardstick, and we ourselves where it is a rival."""
    if contender == OURS or module_of(OURS) is None:
        return yardsticks
    return {**yardsticks, OURS: bind(OURS, operation)(data).run}


def hold(
    benchmark: Any, problem: Problem, operation: str, contender: str, yardstick: Any, **noted: Any
) -> None:
    """Compare a contender with the reference, then time it in turn with its yardstick.

    With `--benchmark-disable` it stops after the comparison.
    """
    data = data_of(problem)
    call = call_of(contender, operation, data)
    result, seconds = first_call(call)
    agreement.check(problem, operation, result)
    del result
    note(benchmark, problem, operation, contender, first_call_seconds=seconds, **noted)
    if benchmark.disabled:
        benchmark.pedantic(call.run)
        return
    others = others_for(contender, operation, data, {yardstick.__name__: yardstick(data)})
    pause = PAUSE_SECONDS if yardstick is copy else PAUSE_AFTER_BLAS_SECONDS
    calls_of = once if problem.rounds == 1 else calls_a_round
    _, turns = in_turn(benchmark, call.run, others, problem.rounds, calls_of, pause)
    work = roofline.noted(operation, data, problem.dtype)
    benchmark.extra_info.update(in_turn=turns, yardstick=yardstick.__name__, **work)


def note(benchmark: Any, problem: Problem, operation: str, contender: str, **noted: Any) -> None:
    """Write down what was run; tests of one problem and operation form a group."""
    if contender not in CONTENDERS:
        raise ValueError(f"{contender!r} is not one of {CONTENDERS}")
    operation = plain(operation)
    benchmark.group = f"{problem.key} {operation}"
    benchmark.extra_info.update(
        problem=problem.name, dtype=problem.dtype, operation=operation, contender=contender, **noted
    )
