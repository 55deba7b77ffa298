"""Reports of what is being compiled: a first run may wait for that longer than for its work.

`private_library` announces every function that it compiles, and nothing that is loaded from disk. A caller
that shows it registers a function by `reporting`; without one, nothing is said.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, NamedTuple

from fastsoftmax.runtime.forks import at_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Compilation(NamedTuple):
    """What has been compiled since a report was asked for.

    `name` is the kernel that is being compiled, "" if the last one is done; `n_done` the number of those that
    are, each with the functions that it calls; `seconds` the time that it has taken; `kept` whether kernels
    are kept on disk; `n_expected` about how many there will be, None where there is no `forecast`. How many
    are to come is not known for certain before the work that needs them is done.
    """

    name: str
    n_done: int
    seconds: float
    kept: bool
    n_expected: int | None = None

    def __str__(self) -> str:
        """Return it as one line."""
        often = "once on this machine" if self.kept else "in every process: they cannot be kept"
        if self.n_expected is not None and self.n_done < self.n_expected:
            so_far = f"{self.n_done} of about {self.n_expected}, {self.seconds:.0f} s"
        else:
            so_far = f"{self.n_done} so far, {self.seconds:.0f} s" if self.n_done else "the first one"
        return f"compiling kernels ({often}): {so_far}" + (f", now {self.name}" if self.name else "")


class _State:
    """What this process has compiled. Changed under Numba's compiler lock, which a compilation holds."""

    def __init__(self) -> None:
        self.name = ""
        self.depth = 0  # of compilations within one another: of a kernel, and of functions that it calls
        self.began = 0.0
        self.n_done = 0
        self.n_loaded = 0
        self.n_forecast: int | None = None
        self.seconds = 0.0
        self.kept = True  # whether there is a place on disk
        self.keeps = True  # whether that is for the last kernel
        self.reports: list[Callable[[], None]] = []
        self.first: list[Callable[[], None]] = []  # called once each, as the next compilation begins


_state = _State()
# A line that a child writes over its parent's would say nothing of either.
at_fork(in_child=_state.reports.clear)


def not_kept() -> None:
    """Note that kernels are compiled anew in every process."""
    _state.kept = False


def loaded() -> None:
    """Note that a kernel was loaded from disk."""
    _state.n_loaded += 1


def keeps_kernels() -> bool:
    """Return whether there is a place on disk for kernels, as far as is known."""
    return _state.kept


@contextlib.contextmanager
def at_first(call: Callable[[], None]) -> Iterator[None]:
    """Call a function once, as the first compilation in the body begins, if there is one."""
    _state.first.append(call)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # it has been called
            _state.first.remove(call)


@contextlib.contextmanager
def forecast(plan: Sequence[object] | None) -> Iterator[None]:
    """Report how many kernels are left of those that the body needs, about, in a process that has none.

    Nothing is forecast in a process that has some already: which of them the body needs is not known. Nor
    without a plan.
    """
    if plan is None or _state.n_done or _state.n_loaded:
        yield
        return
    _state.n_forecast = len(plan)
    try:
        yield
    finally:
        _state.n_forecast = None


@contextlib.contextmanager
def announced(name: str, *, kept: bool = True) -> Iterator[None]:
    """Report the compilation of a function in the body. Called under Numba's compiler lock.

    `kept` tells whether it may be kept on disk.
    """
    if _state.depth == 0:
        _state.name, _state.began, _state.keeps = name, time.perf_counter(), kept
    _state.depth += 1
    try:
        while _state.first:
            _state.first.pop()()
        _report()
        yield
        if _state.depth == 1:
            _state.n_done += 1
    finally:
        _state.depth -= 1
        if _state.depth == 0:
            _state.seconds += time.perf_counter() - _state.began
            _state.name = ""
            _report()


def _report() -> None:
    """Call the function that was registered last, if there is one."""
    for report in _state.reports[-1:]:
        with contextlib.suppress(OSError, ValueError):  # a closed stream is no reason not to compile
            report()


@contextlib.contextmanager
def reporting(report: Callable[[Compilation], None] | None) -> Iterator[None]:
    """Call a function as each kernel of the body, or a function that it calls, begins to be compiled.

    And once more as a kernel is done. Of several functions that are registered, in any thread, the last one
    alone is called. None registers nothing.
    """
    if report is None:
        yield
        return
    n_before, seconds_before = _state.n_done, _state.seconds

    def tell() -> None:
        current = time.perf_counter() - _state.began if _state.depth else 0.0
        seconds = _state.seconds - seconds_before + current
        expected = None if _state.n_forecast is None else _state.n_forecast - _state.n_loaded
        report(
            Compilation(
                _state.name, _state.n_done - n_before, seconds, _state.kept and _state.keeps, expected
            )
        )

    _state.reports.append(tell)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # of a child that was forked in the body
            _state.reports.remove(tell)
