"""The observers of a fit: callables, a progress line on standard error, and scikit-learn's callbacks."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastsoftmax.contracts import Record, Vector

SECONDS_A_LINE = 0.1  # between updates of the live line: a small fit makes thousands of steps


@contextlib.contextmanager
def watching(
    callbacks: Iterable[Callable[[Record], None]], verbose: int, tasks: Tasks | None
) -> Iterator[Callable[[Record, Vector], None] | None]:
    """Yield the callback for a solver, called with the record and parameters of each step, or None."""
    observers = list(callbacks)
    line = StandardErrorLine() if verbose else None
    if line is not None:
        observers.append(line.show)
    if not observers and tasks is None:
        yield None
        return

    def observe(record: Record, x: Vector) -> None:
        for callback in observers:
            callback(record)
        if tasks is not None:
            tasks.stepped(x)

    try:
        yield observe
    finally:
        if line is not None:
            line.end()


class StandardErrorLine:
    """The progress of a fit on standard error: one live line on a terminal, a line a record elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._text = ""
        self._shown = ""
        self._time = -float("inf")

    def show(self, record: Record) -> None:
        """Write the record; on a terminal it overwrites the last one."""
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
        """Write the last record of a live line, and end the line."""
        if self._live and self._text:
            self._rewrite()
            print(file=sys.stderr)

    def _rewrite(self) -> None:
        # One column stays free: a terminal wraps after writing to the last one.
        text = self._text[: shutil.get_terminal_size().columns - 1]
        print(f"\r{text:<{len(self._shown)}}", end="", file=sys.stderr, flush=True)
        self._shown, self._time = text, time.perf_counter()


class Tasks:
    """A fit and its steps as tasks of scikit-learn's callbacks (1.9), with the steps numbered from 0.

    Parameters
    ----------
    root : sklearn.callback.CallbackContext
        The context of the fit, with room for `max_steps` + 1 subtasks. Its task begins in the constructor.
    name : str
        The name of the steps' tasks.
    max_steps : int
    attributes : callable
        A function from flat parameters to the fitted attributes `coef_` and `intercept_`.
    context
        Further keyword arguments of every hook: estimator, X, y, metadata.

    Notes
    -----
    As in scikit-learn, a step begins as soon as the last has ended, so the final one is empty. A hook's
    request to stop is ignored, as it is there.
    """

    def __init__(
        self,
        root: Any,
        name: str,
        max_steps: int,
        attributes: Callable[[Vector], dict[str, Any]],
        **context: Any,
    ) -> None:
        self._root = root
        self._name = name
        self._steps_left = max_steps
        self._attributes = attributes
        self._context = context
        self._step: Any = None
        root.call_on_fit_task_begin(**context)

    def stepped(self, x: Vector) -> None:
        """Report the starting point at the first call, the end of a step at each later one."""
        state = {**self._context, "reconstruction_attributes": lambda: self._attributes(x)}
        if self._step is not None:
            if self._steps_left == 0:  # the same point again, with float64 products: no step
                return
            self._steps_left -= 1
            self._step.call_on_fit_task_end(**state)
        self._step = self._root.subcontext(task_name=self._name)
        self._step.call_on_fit_task_begin(**state)

    def end(self) -> None:
        """End the final, empty step, and the fit, once the estimator has its fitted attributes."""
        self._step.call_on_fit_task_end(estimator=self._context["estimator"])
        self._root.call_on_fit_task_end(**self._context, reconstruction_attributes={})
