"""The two ways to have functions run where blocks are: by the workers of a Dask client, or by Dask's threads.

A handle is what an engine gives for a result that stays where it was made: a future, or the result itself.
Names of tasks are what a dashboard shows; keys end in the numbers of the blocks.
"""

from __future__ import annotations

import functools
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

import dask
import dask.base
import dask.threaded

from fastsoftmax.data.dask.plan import GROUPS_A_THREAD, Leaf, leaves_of, nested_plan
from fastsoftmax.runtime.executor import available_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastsoftmax.data.dask.plan import Node

    Handle: TypeAlias = Any

# A graph with parameters in it is as large as they are, and meant to be: Dask warns from 10 MB on.
NO_WARNING = {"distributed.admin.large-graph-warning-threshold": "1TB"}
FAN = 8  # sums that one task adds: as few tasks as three levels of pairs, on one worker
SECONDS_A_PLAN = 5.0


def current(things: Sequence[Any]) -> Any:
    """Return the engine of the futures among `things`, of the current client, or of threads.

    Futures that have come to a worker in a message have no client yet: the current one is theirs.
    """
    get = dask.base.get_scheduler()
    client = getattr(get, "__self__", None)
    client = client if hasattr(client, "who_has") else None
    # a delayed object has every attribute
    futures = [thing for thing in things if type(thing).__module__.startswith("distributed.")]
    for future in futures:
        if future.client is None and client is not None:
            future.bind_client(client)
    if futures:
        return _cluster(futures[0].client)
    return Threads(get) if client is None else _cluster(client)


def _cluster(client: Any) -> Any:
    """Return the engine of a client; `distributed` is there, since the client is."""
    from fastsoftmax.data.dask.cluster import Cluster

    return Cluster(client)


class Threads:
    """The engine without a client: Dask's threads in this process, or the scheduler that Dask is set to.

    Parameters
    ----------
    get : callable, optional
        Dask's local scheduler. Processes would get every block anew in every reading: threads are taken.
    """

    def __init__(self, get: Any = None) -> None:
        local = getattr(get, "__module__", "") in ("dask.local", "dask.threaded")
        self._get = get if local else dask.threaded.get

    def made(self, blocks: Sequence[Any], origins: Sequence[Any]) -> list[Handle]:
        """Return the results of delayed objects; `origins` are what they are made from."""
        try:
            return list(dask.compute(*blocks, scheduler=self._get))
        except Exception:
            for number, each in enumerate(blocks):  # which one it was
                try:
                    dask.compute(each, scheduler=self._get)
                except Exception as error:
                    raise failed(error, f"block {number}") from error
            raise

    def kept(
        self,
        function: Callable[..., Any],
        handles: Sequence[Handle],
        each: Sequence[tuple[Any, ...]],
        shared: tuple[Any, ...],
        name: str,
    ) -> list[Handle]:
        """Return function(handle, *its own, *shared) of each handle."""
        return self.results(function, handles, each, shared, name)

    def results(
        self,
        function: Callable[..., Any],
        handles: Sequence[Handle],
        each: Sequence[tuple[Any, ...]],
        shared: tuple[Any, ...],
        name: str,
        done: Callable[[Any], None] | None = None,
    ) -> list[Any]:
        """Return function(handle, *its own, *shared) of each handle, in their order.

        `done` is called with each result.
        """
        calls = [functools.partial(function, h, *own, *shared) for h, own in zip(handles, each)]
        results = self._run(calls, name, None)
        for result in results if done is not None else ():
            done(result)  # type: ignore[misc]
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
        workers = n_threads or available_threads()
        plan = nested_plan(len(handles), None, {None: workers * GROUPS_A_THREAD})
        leaves = leaves_of(plan)
        calls = [functools.partial(function, list(handles[a:b]), query, 1, *shared) for a, b in leaves]
        sums = dict(zip(leaves, self._run(calls, name, workers)))
        return added(_replaced(plan, sums))

    def _run(self, calls: Sequence[Callable[[], Any]], name: str, workers: int | None) -> list[Any]:
        keys = [f"{name}-{number}" for number in range(len(calls))]
        options = {} if workers is None else {"num_workers": workers}
        graph = {key: (call,) for key, call in zip(keys, calls)}
        return list(self._get(graph, keys, **options))


def _replaced(plan: Node, sums: dict[Leaf, Any]) -> Any:
    """Return the plan with sums in place of its leaves, and let go of them in `sums`."""
    return sums.pop(plan) if isinstance(plan, Leaf) else [_replaced(part, sums) for part in plan]


def token() -> str:
    """Return what tells the keys of a call from those of others; Dask leaves it out of names."""
    return uuid.uuid4().hex


def failed(error: BaseException, what: str) -> Exception:
    """Return the error of a block: its own kind, and a message that names the block."""
    said = str(error) or type(error).__name__
    if what in said:
        return error if isinstance(error, Exception) else RuntimeError(said)
    for kind in (MemoryError, FileNotFoundError, OSError, TypeError, ValueError):
        if type(error) is kind:
            return kind(f"{what}: {said}")
    return RuntimeError(f"{what}: {type(error).__name__}: {said}")
