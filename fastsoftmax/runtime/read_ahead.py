"""An iterator whose next items are made in a thread while the last one is used."""

from __future__ import annotations

import contextlib
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = TypeVar("Item")

DEPTH = 2  # items made and not yet asked for


class _End(NamedTuple):
    """The end of the items, and the exception that ended them."""

    error: BaseException | None


class _Ahead(Generic[Item]):
    """The thread that makes items, and the two queues between it and their user.

    `queue.SimpleQueue` is written in C: an interrupt (Ctrl-C) between any two lines leaves no lock behind,
    which those of `queue.Queue` may (docs/decisions.md).
    """

    def __init__(self, make: Callable[[], Iterator[Item]], depth: int) -> None:
        self._make = make
        self._items: SimpleQueue[Any] = SimpleQueue()
        self._slots: SimpleQueue[bool] = SimpleQueue()  # True: there is room for an item; False: stop
        for _ in range(depth):
            self._slots.put(True)
        self._thread = threading.Thread(target=self._run, name="fastsoftmax-reading", daemon=True)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            with contextlib.closing(self._make()) as items:  # type: ignore[type-var]
                while self._slots.get():
                    try:
                        item = next(items)
                    except StopIteration:
                        break
                    self._items.put(item)
                    del item  # the user's alone, so that its memory can go
        except BaseException as raised:  # raised again where the items are used
            error = raised
        self._items.put(_End(error))

    def items(self) -> Iterator[Item]:
        """Yield the items."""
        while True:
            item = self._items.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
            del item
            self._slots.put(True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the item that it is making."""
        self._slots.put(False)
        self._thread.join()


@contextlib.contextmanager
def read_ahead(make: Callable[[], Iterator[Item]], depth: int = DEPTH) -> Iterator[Iterator[Item]]:
    """Yield an iterator of the items of make(), which a thread makes ahead.

    Parameters
    ----------
    make : callable
        () ↦ generator. It is started, advanced and closed in the thread.
    depth : int
        The most items that are ready and not yet asked for; one more is being made, one is in use.

    Notes
    -----
    The items and their order are those of make(); an exception there is raised where the next item is asked
    for. When the body ends, by an exception as well, the thread has ended.
    """
    ahead = _Ahead(make, depth)
    ahead.start()
    try:
        yield ahead.items()
    finally:
        ahead.stop()
