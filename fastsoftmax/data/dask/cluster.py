"""The engine of a Dask client: results stay on its workers, and one sum comes to the client."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import dask.config
from distributed import CancelledError, KilledWorker, as_completed

from fastsoftmax.data.dask.alignment import Parcel
from fastsoftmax.data.dask.engine import FAN, GROUPS_A_THREAD, NO_WARNING, SECONDS_A_PLAN, failed, token
from fastsoftmax.data.dask.plan import Leaf, nested_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed import Client, Future

    from fastsoftmax.data.dask.engine import Handle
    from fastsoftmax.data.dask.plan import Node

logger = logging.getLogger(__name__)

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
        self._client = client
        self._plan: tuple[float, tuple[Any, ...], Node] | None = None

    def made(self, blocks: Sequence[Any], origins: Sequence[Any]) -> list[Handle]:
        """Return futures of delayed objects; Dask chooses their workers."""
        return list(self._client.compute(list(blocks)))

    def kept(
        self,
        function: Callable[..., Any],
        handles: Sequence[Handle],
        each: Sequence[tuple[Any, ...]],
        shared: tuple[Any, ...],
        name: str,
    ) -> list[Handle]:
        """Return futures of function(handle, *its own, *shared)."""
        return self._submitted(function, handles, each, shared, name)

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
        futures = self._submitted(function, handles, each, shared, name)
        number = {future.key: i for i, future in enumerate(futures)}
        results: list[Any] = [None] * len(futures)
        for future in as_completed(futures, loop=self._client.loop):  # it may not be the current client
            what = f"block {number[future.key]}"
            results[number[future.key]] = self._result(future, what)
            if done is not None:
                done(results[number[future.key]])
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
        mark = token()
        with dask.config.set(NO_WARNING):
            there = self._client.submit(
                _given, Parcel((query, *shared)), key=f"parameters-{mark}", pure=False
            )

        def leaf(part: Leaf) -> Future:
            key = (f"{name}-{mark}", part.start, part.stop)
            group = list(handles[part.start : part.stop])
            return self._client.submit(_on_group, function, group, there, n_threads or 1, key=key, pure=False)

        def joined(tree: Any, span: tuple[int, int]) -> Future:
            key = (f"add-{name}-{mark}", *span)
            return self._client.submit(added, tree, key=key, pure=False)

        tree, _, span = _submitted_tree(self._planned(handles), leaf, joined)
        total = joined(tree, span) if isinstance(tree, list) else tree
        return self._result(total, "")

    def _submitted(
        self,
        function: Callable[..., Any],
        handles: Sequence[Handle],
        each: Sequence[tuple[Any, ...]],
        shared: tuple[Any, ...],
        name: str,
    ) -> list[Future]:
        mark = token()
        with dask.config.set(NO_WARNING):
            there = self._client.submit(_given, Parcel(shared), key=f"shared-{mark}", pure=False)
        return [
            self._client.submit(_with_shared, function, h, own, there, key=(f"{name}-{mark}", i), pure=False)
            for i, (h, own) in enumerate(zip(handles, each))
        ]

    def _planned(self, handles: Sequence[Handle]) -> Node:
        """Return the plan for where the blocks are now; asked of the scheduler every few seconds."""
        now, identity = time.monotonic(), tuple(map(id, handles))
        if self._plan is not None and now < self._plan[0] and self._plan[1] == identity:
            return self._plan[2]
        places: list[Any] | None = None
        if hasattr(handles[0], "key"):
            threads = self._client.nthreads()
            has = self._client.who_has(list(handles))
            places = [min(has.get(handle.key) or ("",)) for handle in handles]
            groups: dict[Any, int] = {name: GROUPS_A_THREAD * n for name, n in threads.items()}
        else:  # recipes: a task each
            groups = {None: len(handles)}
        plan = nested_plan(len(handles), places, groups)
        self._plan = now + SECONDS_A_PLAN, identity, plan
        return plan

    def _result(self, future: Future, what: str) -> Any:
        """Return a future's result; errors name the block, if it is known here and they do not."""
        try:
            while True:
                try:
                    return future.result(timeout=PATIENCE)
                except TimeoutError:
                    if future.done():  # it is the task's own
                        raise
                    if not self._client.nthreads():
                        logger.warning("fastsoftmax: the cluster has no worker; the fit waits for one")
        except CancelledError as error:
            raise RuntimeError(f"the rows of {what or 'some blocks'} {GONE}") from error
        except KilledWorker as error:
            raise RuntimeError(f"a task ended every worker that it ran on: {error}") from error
        except Exception as error:
            raise failed(error, what) from error


def _submitted_tree(
    plan: Node, leaf: Callable[[Leaf], Any], joined: Callable[[Any, tuple[int, int]], Any]
) -> tuple[Any, int, tuple[int, int]]:
    """Return a plan as nested futures, how many they are, and the blocks that they cover.

    As soon as FAN futures have come together, a task adds them.
    """
    if isinstance(plan, Leaf):
        return leaf(plan), 1, (plan.start, plan.stop)
    parts = [_submitted_tree(part, leaf, joined) for part in plan]
    tree, count = [part[0] for part in parts], sum(part[1] for part in parts)
    span = parts[0][2][0], parts[-1][2][1]
    return (joined(tree, span), 1, span) if count >= FAN else (tree, count, span)


def _given(value: Any) -> Any:
    return value


def _with_shared(function: Callable[..., Any], handle: Any, own: tuple[Any, ...], shared: Parcel) -> Any:
    return function(handle, *own, *shared.value)


def _on_group(function: Callable[..., Any], group: list[Any], shared: Parcel, n_threads: int) -> Any:
    query, *more = shared.value
    return function(group, query, n_threads, *more)
