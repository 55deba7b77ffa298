"""Tasks that run where the rows are: which worker each block lies on, and what tasks are told of it.

Dask gives tasks to whoever is idle: a worker that starts late would have no block in any reading, neighbours
would lie on several workers, of which one task cannot sum them, and blocks would be copied to where their
tasks went.
"""

from __future__ import annotations

import functools
import queue
import time
from typing import TYPE_CHECKING, Any

import dask
from distributed import Future

from fastsoftmax.data.dask.engine import NO_WARNING
from fastsoftmax.data.dask.plan import placed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from distributed import Client

POLL_SECONDS = 1.0
UNDER_WAY = frozenset({"waiting", "queued", "no-worker", "processing"})  # states of tasks, for the scheduler


class UnderWay:
    """Futures of tasks that were told their worker, as a wish, for as long as they are waited for.

    Left with it, a task that finds no worker at all, even for a moment, waits for one of that very address
    for ever (findings/dask_forgets_loose_restrictions.sh): when a worker is gone the wishes are taken back.

    Parameters
    ----------
    client : distributed.Client
    futures : sequence of Future
    wishes : mapping
        The worker of each key, for tasks that have one.
    """

    def __init__(self, client: Client, futures: Sequence[Future], wishes: Mapping[Any, str]) -> None:
        self._client, self.futures, self._wishes = client, futures, wishes

    def done(self, waiting: Callable[[], None]) -> Iterator[Future]:
        """Yield each future as its task ends or fails; calls `waiting` now and then until it does."""
        ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
        for future in self.futures:
            future.add_done_callback(ended.put)
        try:
            for _ in self.futures:
                while True:
                    try:
                        future = ended.get(timeout=POLL_SECONDS)
                        break
                    except queue.Empty:
                        self.heal()
                        waiting()
                yield future
        except BaseException:  # Ctrl-C, or the caller has an error: nothing is computed in vain
            for future in self.futures:
                future.release()
            raise

    def heal(self) -> None:
        """Take the wishes back if one of their workers is gone."""
        if self._wishes and not set(self._wishes.values()) <= set(self._client.nthreads()):
            self.forget()

    def forget(self) -> None:
        """Take the wishes back: the tasks may run anywhere if they are needed again."""
        if self._wishes:
            self._client.run_on_scheduler(functools.partial(_forgotten, dict(self._wishes)))
            self._wishes = {}


def sent(client: Client, graph: dict[Any, Any], keys: list[Any], wishes: Mapping[Any, str]) -> UnderWay:
    """Send a graph in one message: one costs the scheduler as much as several tasks."""
    wished = {"workers": functools.partial(_wish, wishes), "allow_other_workers": True} if wishes else {}
    with dask.config.set(NO_WARNING), dask.annotate(**wished):
        return UnderWay(client, client.get(graph, keys, sync=False), wishes)


def made(client: Client, blocks: Sequence[Any], origins: Sequence[Any]) -> UnderWay:
    """Have delayed objects made where they will lie: as many a thread, neighbours on one worker.

    Parameters
    ----------
    client : distributed.Client
    blocks : sequence of Delayed
    origins : sequence
        What each block is made from: rows that lie evenly among the workers stay there.
    """
    threads: dict[str, int] = client.nthreads()
    # of the scheduler, since it does not tell a client of futures that have come to a worker in a message
    given = [origin.key for origin in origins if isinstance(origin, Future)]
    while given and set(threads) <= set(client.nthreads()) and client.run_on_scheduler(_is_one_made, given):
        time.sleep(POLL_SECONDS / 20)
    places = _places(client, origins, threads)
    futures: list[Any] = [None] * len(blocks)
    for place in dict.fromkeys(places):
        mine = [i for i, each in enumerate(places) if each == place]
        where = {} if place is None else {"workers": [place], "allow_other_workers": True}
        for i, future in zip(mine, client.compute([blocks[i] for i in mine], **where)):
            futures[i] = future
    wishes = {future.key: place for future, place in zip(futures, places) if place is not None}
    return UnderWay(client, futures, wishes)


def whereabouts(client: Client, keys: Sequence[Any]) -> dict[Any, tuple[str, int]]:
    """Return the worker and the bytes of each of these results that is in memory."""
    found: dict[Any, tuple[str, int]] = client.run_on_scheduler(_whereabouts, list(keys)) if keys else {}
    return found


def _places(client: Client, origins: Sequence[Any], threads: Mapping[str, int]) -> list[Any]:
    """Return the worker of each block; those that would have to move stay if there is no memory for them."""
    keys = [getattr(origin, "key", None) for origin in origins]
    there = whereabouts(client, [key for key in keys if key in client.futures])
    held = [there[key][0] if key in there else None for key in keys]
    places = placed(held, threads)
    arriving = dict.fromkeys(threads, 0)
    for key, place in zip(keys, places):
        if key in there and there[key][0] != place:
            arriving[place] += there[key][1]
    workers = client.scheduler_info(n_workers=-1)["workers"] if any(arriving.values()) else {}
    for name, worker in workers.items():
        limit = worker.get("memory_limit") or 0
        if limit and arriving.get(name, 0) > (limit - worker["metrics"]["memory"]) / 2:
            return [place if now is None else now for now, place in zip(held, places)]
    return places


def _wish(wishes: Mapping[Any, str], key: Any) -> tuple[str, ...]:
    """Return the worker that a task is told, as Dask's annotations have it."""
    return (wishes[key],) if key in wishes else ()


def _is_one_made(keys: Sequence[Any], dask_scheduler: Any) -> bool:
    """Return whether one of these tasks is yet to end. Runs on the scheduler."""
    tasks = [dask_scheduler.tasks.get(key) for key in keys]
    return any(task is not None and task.state in UNDER_WAY for task in tasks)


def _whereabouts(keys: Sequence[Any], dask_scheduler: Any) -> dict[Any, tuple[str, int]]:
    """Return the worker and the bytes of results. Runs on the scheduler."""
    tasks = [dask_scheduler.tasks.get(key) for key in keys]
    return {
        task.key: (min(worker.address for worker in task.who_has), task.nbytes)
        for task in tasks
        if task is not None and task.who_has
    }


def _forgotten(wishes: Mapping[Any, str], dask_scheduler: Any) -> None:
    """Take the wishes from these tasks and from what they are made of. Runs on the scheduler."""
    for key, place in wishes.items():
        tasks, seen = [dask_scheduler.tasks.get(key)], set()
        while tasks:
            task = tasks.pop()
            if task is not None and task not in seen:
                seen.add(task)
                tasks += task.dependencies
                if task.loose_restrictions and task.worker_restrictions == {place}:
                    task.worker_restrictions, task.loose_restrictions = None, False
    # Those that wait for their worker are looked at when one is added: here as if one were.
    for worker in list(dask_scheduler.running)[:1]:
        ready = dask_scheduler.bulk_schedule_unrunnable_after_adding_worker(worker)
        dask_scheduler.transitions(ready, stimulus_id="fastsoftmax-any-worker")
