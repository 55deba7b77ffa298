"""The observers of a fit: callables, its progress line, and scikit-learn's callbacks."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastsoftmax.contracts import Record, Vector
    from fastsoftmax.estimator.interrupts import LastPoint
    from fastsoftmax.estimator.progress_line import ProgressLine


@contextlib.contextmanager
def watching(
    callbacks: Iterable[Callable[[Record], None]],
    line: ProgressLine | None,
    tasks: Tasks | None,
    last: LastPoint | None,
) -> Iterator[Callable[[Record, Vector], None] | None]:
    """Yield the callback for a solver, called with the record and parameters of each step, or None.

    A point is noted as the `last` before anything else sees it, and the progress line is ended at the end.
    """
    observers = list(callbacks)
    if line is not None:
        observers.append(line.show)
    if not observers and tasks is None and last is None:
        yield None
        return

    def observe(record: Record, x: Vector) -> None:
        if last is not None:
            last.note(record, x)
        for callback in observers:
            callback(record)
        if tasks is not None:
            tasks.stepped(x)

    try:
        yield observe
    finally:
        if line is not None:
            line.end()


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
            ended, self._step = self._step, None
            ended.call_on_fit_task_end(**state)
        begun = self._root.subcontext(task_name=self._name)
        begun.call_on_fit_task_begin(**state)
        self._step = begun

    def end(self) -> None:
        """End the final, empty step, and the fit, once the estimator has its fitted attributes."""
        if self._step is not None:  # None if the fit was interrupted between two
            self._step.call_on_fit_task_end(estimator=self._context["estimator"])
        self._root.call_on_fit_task_end(**self._context, reconstruction_attributes={})
