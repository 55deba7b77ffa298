"""What a `RowSet` reads from where the rows are in other processes, which look at them themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastsoftmax.data.blocks.block import Block, Head
    from fastsoftmax.data.blocks.look import Limits, Look


class Remote(ABC):
    """A supply (`fastsoftmax.data.blocks.chain.Supply`) whose first reading is made where the rows are."""

    @property
    @abstractmethod
    def head(self) -> Head:
        """What is known before the rows are looked at."""

    @abstractmethod
    def look(self, limits: Limits, progress: Callable[[int, int], None] | None) -> Look:
        """Return what one reading of the rows finds: no row comes here but those of the sample.

        `progress` is called with the rows and bytes so far.
        """

    @abstractmethod
    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield all rows in order; each block comes here."""

    @abstractmethod
    def mapped(
        self, function: Callable[..., Any], shared: tuple[Any, ...], name: str, block_bytes: int
    ) -> list[Any]:
        """Return function(blocks, *shared) for each part of the rows that lies in one place, in order.

        `function` can be pickled; `blocks` is an iterator. `name` says what the tasks are.
        """

    @abstractmethod
    def other_base(self) -> Remote:
        """Return the same after `OtherBase` was raised."""

    @abstractmethod
    def identity(self) -> list[object]:
        """Return what tells these rows from others, as JSON values."""
