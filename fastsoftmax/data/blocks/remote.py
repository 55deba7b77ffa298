"""What a `RowSet` reads from where the rows are in other processes, which look at them themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastsoftmax.data.blocks.block import Block, Head
    from fastsoftmax.data.blocks.look import Limits, Look, SoFar


class Remote(ABC):
    """A supply (`fastsoftmax.data.blocks.chain.Supply`) whose first reading is made where the rows are."""

    @property
    @abstractmethod
    def head(self) -> Head:
        """What is known before the rows are looked at."""

    @abstractmethod
    def look(self, limits: Limits, progress: Callable[[SoFar], None] | None, *, with_moments: bool) -> Look:
        """Return what one reading of the rows finds: no row comes here but those of the sample.

        `progress` is called with `SoFar` as parts arrive; `with_moments` is that of
        `fastsoftmax.data.blocks.look.look`.
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
    def check_size(self, file: str) -> None:
        """Raise ValueError if a file that blocks come from is no longer as long as it was."""

    @property
    @abstractmethod
    def index_base(self) -> int | None:
        """The first index of svmlight files, 1 until a 0 has come up; None for other rows."""

    @abstractmethod
    def likely_rows(self) -> int | None:
        """Return about how many rows there are; None where nothing tells."""

    @abstractmethod
    def other_base(self) -> Remote:
        """Return the same after `OtherBase` was raised."""

    @abstractmethod
    def identity(self) -> list[object]:
        """Return what tells these rows from others, as JSON values."""
