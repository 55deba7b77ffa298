"""The observers of a fit: callables, its time limit, its progress line, and scikit-learn's callbacks."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.runtime.scikit_learn import HAS_CALLBACKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fastsoftmax.contracts import Record, Vector
    from fastsoftmax.estimator.interrupts import LastPoint
    from fastsoftmax.estimator.progress_line import ProgressLine

ASKED = "a callback ended the fit"  # the message of a Solution


@contextlib.contextmanager
def watching(
    callbacks: Iterable[Callable[..., Any]],
    line: ProgressLine | None,
    tasks: Tasks | None,
    last: LastPoint | None,
    deadline: Deadline | None = None,
    model_at: Callable[[Record, Vector], Any] | None = None,
) -> Iterator[Callable[[Record, Vector], str | None] | None]:
    """Yield the callback for a solver, called with the record and parameters of each step, or None.

    A point is noted as the `last` before anything else sees it, and the progress line is ended at the end.
    The callback returns why the fit is to end, or None. `model_at` gives the model of a point to those of the
    `callbacks` that want one; TypeError if there is one and no `model_at`.
    """
    observers = list(callbacks)
    wanting = [observer for observer in observers if getattr(observer, "wants_model", False)]
    if wanting and model_at is None:
        name = type(wanting[0]).__name__
        raise TypeError(f"{name} wants the model of each step, which only fit and fit_path give")
    if not observers and line is None and tasks is None and last is None and deadline is None:
        yield None
        return

    def observe(record: Record, x: Vector) -> str | None:
        if last is not None:
            last.note(record, x)
        answers = []
        for observer in observers:
            if model_at is not None and getattr(observer, "wants_model", False):
                answers.append(observer(record, model_at(record, x)))
            else:
                answers.append(observer(record))
        if line is not None:
            line.show(record)
        if tasks is not None:
            tasks.stepped(x)
        if any(isinstance(answer, bool | np.bool_) and answer for answer in answers):
            return ASKED
        return None if deadline is None else deadline.reason()

    # A solver whose points are in other coordinates need not take them back where nobody looks.
    observe.looks_at_points = bool(wanting or last or tasks)  # type: ignore[attr-defined]
    try:
        yield observe
    finally:
        if line is not None:
            line.end()


def refuse_parts(callbacks: Iterable[Any] | None) -> None:
    """Raise TypeError for a callback that wants the model, where a model is put together of one a class."""
    for observer in callbacks or ():
        if getattr(observer, "wants_model", False):
            raise TypeError(
                f"{type(observer).__name__} wants the model of each step, and there is none of all classes "
                "before the end: multi_class='ovr' with class_weight='balanced' fits one class after another"
            )


class Deadline:
    """A limit of seconds, from the constructor on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._start = time.perf_counter()

    def reason(self) -> str | None:
        """Return that the time is over, if it is: the message of a Solution."""
        over = time.perf_counter() - self._start >= self._seconds
        return f"max_seconds={self._seconds:g} are over" if over else None


def root_of(model: Any) -> Any:
    """Return scikit-learn's context of a fit; None where no callback and no task above could see its tasks.

    A task a step takes half as long as a step of a small problem.
    """
    if not HAS_CALLBACKS:
        return None
    seen = getattr(model, "_skl_callbacks", None) or hasattr(model, "_parent_callback_ctx")
    return model._init_callback_context(max_subtasks=model.max_iter + 1) if seen else None


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
