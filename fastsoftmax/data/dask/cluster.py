"""The engine of a Dask client: results stay on its workers, and one sum comes to the client."""

from __future__ import annotations

import functools
import logging
import time
from typing import TYPE_CHECKING, Any

from distributed import CancelledError, KilledWorker

from fastsoftmax.data.dask import placement
from fastsoftmax.data.dask.alignment import Packed, Parcel
from fastsoftmax.data.dask.engine import FAN, SECONDS_A_PLAN, failed, token
from fastsoftmax.data.dask.host import check_wanted
from fastsoftmax.data.dask.plan import GROUPS_A_WORKERS_THREAD, Leaf, leaves_of, nested_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Client, Future

    from fastsoftmax.data.dask.engine import Handle
    from fastsoftmax.data.dask.plan import Node

logger = logging.getLogger(__name__)

# Parameters up to so many bytes in all go to each group of blocks with its task; larger ones as a task of
# their own, from whose worker the others fetch them.
MAX_SENT_BYTES = 2**26
PATIENCE = 30.0  # seconds: without a worker Dask waits for one for ever, and says nothing
GONE = (
    "were on a worker that is gone, and nothing tells how to make them again: they were scattered, or made "
    "from what was. Make blocks by tasks (dask.delayed, dask.array or dask.dataframe from files), or "
    "give files by on_workers(open_rows(...))"
)


class Cluster:
    """The engine of one client (`fastsoftmax.data.dask.engine.Threads` says what the methods do).

    Parameters
    ----------
    client : distributed.Client

    Notes
    -----
    What goes to the workers is in the graph, parameters too, as a task of their own: where that worker is
    lost they are made again like all else, which is not so for `client.scatter`, and it takes as long.
    """

    def __init__(self, client: Client) -> None:
        self.client = self._client = client
        self._plan: tuple[float, tuple[Any, ...], tuple[Node, list[Any] | None]] | None = None
        self._last: Any = None
        self._said = time.monotonic()

    def made(self, blocks: Sequence[Any], origins: Sequence[Any]) -> list[Handle]:
        """Return futures of delayed objects, of which each worker has as many a thread; waits for them.

        `origins` are what they are made from.
        """
        return self._all_of(placement.made(self._client, blocks, origins))

    def kept(
        self,
        function: Callable[..., Any],
        handles: Sequence[Handle],
        each: Sequence[tuple[Any, ...]],
        shared: tuple[Any, ...],
        name: str,
    ) -> list[Handle]:
        """Return futures of function(handle, *its own, *shared)."""
        return self._all_of(self._sent(function, handles, each, shared, name))

    def results(
        self,
        function: Callable[..., Any],
        handles: Sequence[Handle],
        each: Sequence[tuple[Any, ...]],
        shared: tuple[Any, ...],
        name: str,
        done: Callable[[Any], None] | None = None,
    ) -> list[Any]:
        """Return function(handle, *its own, *shared) of each handle, in their order."""
        under_way = self._sent(function, handles, each, shared, name)
        number = {future.key: i for i, future in enumerate(under_way.futures)}
        results: list[Any] = [None] * len(number)
        for future in under_way.done(self._say_if_alone):
            i = number[future.key]
            results[i] = self._result(future, under_way, f"block {i}")
            if done is not None:
                done(results[i])
        return results

    def summed(
        self,
        function: Callable[..., Any],
        added: Callable[[Any], Any],
        handles: Sequence[Handle],
        query: Any,
        shared: tuple[Any, ...],
        name: str,
        n_threads: int | None,
    ) -> Any:
        """Return the sum of function(handles of a group, query, *shared), added in pairs of neighbours."""
        check_wanted()
        mark = token()
        plan, places = self._planned(handles)
        parameters, wishes = Packed.of((query, *shared)), {}
        given: Any = parameters
        graph: dict[Any, Any] = {}
        if parameters.n_bytes * len(leaves_of(plan)) > MAX_SENT_BYTES:
            given = f"parameters-{mark}"
            graph[given] = _unpacked, parameters

        def leaf(part: Leaf) -> Any:
            key = (f"{name}-{mark}", part.start, part.stop)
            task = functools.partial(_on_group, function, n_threads or 1)
            group = list(handles[part.start : part.stop])
            graph[key] = task, group, given
            if places is not None and places[part.start] is not None:  # else it is being made again
                wishes[key] = places[part.start]
            return key

        def joined(tree: Any, span: tuple[int, int]) -> Any:
            key = (f"add-{name}-{mark}", *span)
            graph[key] = added, tree
            return key

        tree, _, span = _submitted_tree(plan, leaf, joined, _fan(query))
        last = joined(tree, span) if isinstance(tree, list) else tree
        under_way = placement.sent(self._client, graph, [last], wishes)
        # The last sum is let go of with the next request: a message of its own would hold that one up.
        (self._last,) = under_way.done(self._say_if_alone)
        return self._result(self._last, under_way, "")

    def _sent(
        self,
        function: Callable[..., Any],
        handles: Sequence[Handle],
        each: Sequence[tuple[Any, ...]],
        shared: tuple[Any, ...],
        name: str,
    ) -> placement.UnderWay:
        """Send function(handle, *its own, *shared) of each handle to where it is."""
        check_wanted()
        mark = token()
        there, keys = f"shared-{mark}", [(f"{name}-{mark}", i) for i in range(len(handles))]
        graph: dict[Any, Any] = {there: (_unpacked, Packed.of(shared))}
        for key, handle, own in zip(keys, handles, each):
            graph[key] = functools.partial(_with_shared, function, own), handle, there
        places = self._places(handles)
        wishes = {} if places is None else {key: place for key, place in zip(keys, places) if place}
        return placement.sent(self._client, graph, keys, wishes)

    def _all_of(self, under_way: placement.UnderWay) -> list[Handle]:
        """Return the futures when all have ended, no longer bound to a worker."""
        for _ in under_way.done(self._say_if_alone):
            pass
        under_way.forget()
        return list(under_way.futures)

    def _places(self, handles: Sequence[Handle]) -> list[Any] | None:
        """Return the worker of each block, None of one that is on none; None if they are recipes."""
        if not handles or not hasattr(handles[0], "key"):
            return None
        there = placement.whereabouts(self._client, [handle.key for handle in handles])
        return [there[handle.key][0] if handle.key in there else None for handle in handles]

    def _planned(self, handles: Sequence[Handle]) -> tuple[Node, list[Any] | None]:
        """Return the plan for where the blocks are, asked of the scheduler every few seconds, and where."""
        now, identity = time.monotonic(), tuple(map(id, handles))
        if self._plan is not None and now < self._plan[0] and self._plan[1] == identity:
            return self._plan[2]
        places = self._places(handles)
        groups: dict[Any, int] = {None: len(handles)}  # recipes: a task each
        if places is not None:
            groups = {name: GROUPS_A_WORKERS_THREAD * n for name, n in self._client.nthreads().items()}
        plan = nested_plan(len(handles), places, groups), places
        self._plan = now + SECONDS_A_PLAN, identity, plan
        return plan

    def _say_if_alone(self) -> None:
        """Log, every half minute, that there is no worker. Raises LetGoError if nobody waits for the fit."""
        check_wanted()
        now = time.monotonic()
        if not self._client.nthreads() and now > self._said + PATIENCE:
            self._said = now
            logger.warning("fastsoftmax: the cluster has no worker; the fit waits for one")

    def _result(self, future: Future, under_way: placement.UnderWay, what: str) -> Any:
        """Return a future's result; errors name the block, if it is known here and they do not."""
        try:
            while True:
                try:
                    return future.result(timeout=PATIENCE)
                except TimeoutError:
                    if future.status == "error":  # it is the task's own, not that of a slow worker's answer
                        raise
                    under_way.heal()
                    self._say_if_alone()
        except CancelledError as error:
            raise RuntimeError(f"the rows of {what or 'some blocks'} {GONE}") from error
        except KilledWorker as error:
            raise RuntimeError(f"a task ended every worker that it ran on: {error}") from error
        except Exception as error:
            raise failed(error, what) from error


def _fan(query: Any) -> int:
    """Return how many answers one task adds: of chosen rows, each as large as there is memory for, two."""
    inner = getattr(query, "query", query)  # of a fold
    parts = getattr(inner, "queries", (inner,))
    return 2 if any(hasattr(each, "max_bytes") for each in parts) else FAN


def _submitted_tree(
    plan: Node, leaf: Callable[[Leaf], Any], joined: Callable[[Any, tuple[int, int]], Any], fan: int
) -> tuple[Any, int, tuple[int, int]]:
    """Return a plan as nested keys of tasks, how many they are, and the blocks that they cover.

    As soon as `fan` of them have come together, a task adds them.
    """
    if isinstance(plan, Leaf):
        return leaf(plan), 1, (plan.start, plan.stop)
    parts = [_submitted_tree(part, leaf, joined, fan) for part in plan]
    tree, count = [part[0] for part in parts], sum(part[1] for part in parts)
    span = parts[0][2][0], parts[-1][2][1]
    return (joined(tree, span), 1, span) if count >= fan else (tree, count, span)


def _unpacked(parameters: Packed) -> Parcel:
    return Parcel(parameters.value())


def _with_shared(function: Callable[..., Any], own: tuple[Any, ...], handle: Any, shared: Parcel) -> Any:
    return function(handle, *own, *shared.value)


def _on_group(
    function: Callable[..., Any], n_threads: int, group: list[Any], parameters: Parcel | Packed
) -> Any:
    value = parameters.value() if isinstance(parameters, Packed) else parameters.value
    query, *more = value
    return function(group, query, n_threads, *more)
