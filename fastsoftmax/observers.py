"""Who watches a fit: callables with its records, a line for a reader, and scikit-learn's callbacks."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastsoftmax.contracts import Record, Vector

SECONDS_A_LINE = 0.1  # between two states of the live line: a small fit makes thousands of steps


@contextlib.contextmanager
def watching(
    callbacks: Iterable[Callable[[Record], None]], verbose: int, tasks: Tasks | None
) -> Iterator[Callable[[Record, Vector], None] | None]:
    """Yield what a solver calls with the record and the parameters of each step; None if nobody watches."""
    called = list(callbacks)
    line = StandardErrorLine() if verbose else None
    if line is not None:
        called.append(line.show)
    if not called and tasks is None:
        yield None
        return

    def observe(record: Record, x: Vector) -> None:
        for callback in called:
            callback(record)
        if tasks is not None:
            tasks.stepped(x)

    try:
        yield observe
    finally:
        if line is not None:
            line.end()


class StandardErrorLine:
    """A line on standard error for each record: one live line on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._text = ""
        self._shown = ""
        self._time = -float("inf")

    def show(self, record: Record) -> None:
        """Write the record, or on a terminal put it in the place of the one before."""
        gap = "" if record.gap is None else f"  gap {record.gap:.2e}"
        self._text = (
            f"{record.seconds:8.2f} s  passes {record.passes:5d}  objective {record.objective:.9f}"
            f"  gradient {record.grad_norm:.2e}{gap}"
        )
        if not self._live:
            print(self._text, file=sys.stderr)
        elif time.perf_counter() - self._time >= SECONDS_A_LINE:
            self._rewrite()

    def end(self) -> None:
        """Leave the last record standing."""
        if self._live and self._text:
            self._rewrite()
            print(file=sys.stderr)

    def _rewrite(self) -> None:
        # One column is kept free: a terminal that has written the last one begins a new line.
        text = self._text[: shutil.get_terminal_size().columns - 1]
        print(f"\r{text:<{len(self._shown)}}", end="", file=sys.stderr, flush=True)
        self._shown, self._time = text, time.perf_counter()


class Tasks:
    """A fit and its steps as tasks of scikit-learn's callbacks (1.9), the steps numbered from 0.

    Parameters
    ----------
    root : sklearn.callback.CallbackContext
        That of the fit, with room for `max_steps` + 1 subtasks. Its task begins here.
    name : str
        What the steps are called.
    max_steps : int
    attributes : callable
        Makes of parameters what an estimator that has them keeps: `coef_` and `intercept_`.
    told : mapping
        What each hook may ask for besides: estimator, X, y, metadata.

    Notes
    -----
    As in scikit-learn, a step begins as soon as the one before has ended, so the last one is empty. A hook's
    wish to stop is not heard, nor is it there.
    """

    def __init__(
        self,
        root: Any,
        name: str,
        max_steps: int,
        attributes: Callable[[Vector], dict[str, Any]],
        **told: Any,
    ) -> None:
        self._root = root
        self._name = name
        self._steps_left = max_steps
        self._attributes = attributes
        self._told = told
        self._step: Any = None
        root.call_on_fit_task_begin(**told)

    def stepped(self, x: Vector) -> None:
        """Note the starting point when called first, the end of a step afterwards."""
        state = {**self._told, "reconstruction_attributes": lambda: self._attributes(x)}
        if self._step is not None:
            if self._steps_left == 0:  # the same point once more, in finer products: no step
                return
            self._steps_left -= 1
            self._step.call_on_fit_task_end(**state)
        self._step = self._root.subcontext(task_name=self._name)
        self._step.call_on_fit_task_begin(**state)

    def end(self) -> None:
        """End the step in which nothing happened, and the fit, whose estimator has its attributes."""
        self._step.call_on_fit_task_end(estimator=self._told["estimator"])
        self._root.call_on_fit_task_end(**self._told, reconstruction_attributes={})
