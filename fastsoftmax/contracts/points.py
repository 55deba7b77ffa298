"""Parameters that several queries are about, and the logits that are kept beside the rows for them."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts.values import Array, Params


class Point:
    """Parameters shared by several queries: their logits are computed once and kept with the rows.

    The logits are kept as long as the point exists. An unpickled copy in another process is the same point.
    """

    __slots__ = ("__weakref__", "_key", "params")

    def __init__(self, params: Params) -> None:
        self.params = params
        self._key = os.urandom(8).hex()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __getstate__(self) -> tuple[Params, str]:
        return self.params, self._key

    def __setstate__(self, state: tuple[Params, str]) -> None:
        self.params, self._key = state


class KeptLogits:
    """The logits of a row block that queries have computed, each kept as long as its `Point` exists.

    They only save time: logits that are lost are computed again, to the same bits. They are not pickled.
    """

    def __init__(self) -> None:
        self._by_point: weakref.WeakKeyDictionary[Point, Array] = weakref.WeakKeyDictionary()

    def at(self, point: Point, compute: Callable[[], Array]) -> Array:
        """Return the logits at a point, from compute() at the first call."""
        logits = self._by_point.get(point)
        if logits is None:
            logits = self._by_point[point] = compute()
        return logits

    def __reduce__(self) -> tuple[type[KeptLogits], tuple[()]]:
        return KeptLogits, ()
