"""The task in which a fit runs, if it runs on a worker: it ends when nobody waits for its result any more."""

from __future__ import annotations

from distributed import get_worker

WANTED = frozenset({"executing", "long-running", "resumed"})  # states of a task that runs for somebody


class LetGoError(RuntimeError):
    """The task in which a fit runs was cancelled, or its client is gone."""


def check_wanted() -> None:
    """Raise LetGoError if nobody waits any more for the task that this thread runs, if it runs one.

    Dask cannot end a task that runs; one that asks workers for sums can ask beforehand. Each time anew: rows
    may be made by one task, and fitted by another.
    """
    try:
        worker = get_worker()
        key = worker.get_current_task()
    except (ValueError, KeyError):  # there is no worker in this process, or no task in this thread
        return
    task = worker.state.tasks.get(key)
    if task is None or task.state not in WANTED:
        raise LetGoError("the task in which this fit runs was let go of")
