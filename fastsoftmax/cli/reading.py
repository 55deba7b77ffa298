"""What is said on a terminal while rows are read by blocks: which reading, how far, and how fast."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from fastsoftmax.contracts.sizes import in_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.cli.console import Progress
    from fastsoftmax.contracts import Record
    from fastsoftmax.data.blocks.look import SoFar
    from fastsoftmax.data.blocks.row_set import RowSet

SECONDS_AN_UPDATE = 0.25


class Meter:
    """The live line of a command that may read rows by blocks.

    Parameters
    ----------
    progress : Progress
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._rows: RowSet | None = None
        self._began = time.perf_counter()
        self._first_byte = 0
        self._record: Record | None = None
        self._n_steps = -1

    def say(self, text: str) -> None:
        """Show a text."""
        self._progress.say(text)

    def of(self, rows: RowSet) -> Meter:
        """Return itself, for these rows from now on."""
        self._rows, self._first_byte = rows, rows.bytes_read
        self._began = time.perf_counter()
        return self

    @property
    def seconds(self) -> float:
        """The time since the rows were first read, or since the beginning."""
        return time.perf_counter() - self._began

    def look(self, so_far: SoFar) -> None:
        """Show how far the first reading is."""
        done = ""
        if so_far.likely_rows:
            done = f" of {so_far.likely_rows:,}"
        cache = f"   a cache of {in_bytes(so_far.cache_bytes)} is written" if so_far.cache_bytes else ""
        self._progress.say_seldom(
            f"first reading   {so_far.n_rows:,}{done} rows   {self._speed(so_far.n_bytes)}{cache}"
        )

    def record(self, record: Record) -> None:
        """Note the record of a step; show it where rows are in memory."""
        self._record = record
        self._n_steps += 1
        if self._rows is None or self._rows.is_in_memory:
            self._progress.record(record)

    @contextlib.contextmanager
    def running(self, doing: str) -> Iterator[None]:
        """Keep the line up to date while rows are read, whatever else is done: `doing` names that."""
        self.say(f"{doing} ...")
        if self._rows is None or self._rows.is_in_memory or not self._progress.is_live:
            yield
            return
        stop = threading.Event()

        def update() -> None:
            while not stop.wait(SECONDS_AN_UPDATE):
                self.say(self._text(doing))

        thread = threading.Thread(target=update, name="fastsoftmax-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _text(self, doing: str) -> str:
        rows = self._rows
        assert rows is not None
        n_bytes = rows.bytes_read
        parts = [doing]
        if rows.reading_bytes:
            whole, now = divmod(n_bytes, rows.reading_bytes)
            parts.append(f"reading {whole + 1} ({now / rows.reading_bytes:.0%})")
        if self._record is not None:
            record = self._record
            far = f"gradient {record.grad_norm:.2e}" if record.gap is None else f"gap {record.gap:.2e}"
            parts += [f"step {self._n_steps}", f"objective {record.objective:.8f}", far]
        parts.append(self._speed(n_bytes - self._first_byte))
        return "   ".join(parts)

    def _speed(self, n_bytes: int) -> str:
        return f"{in_bytes(n_bytes)}, {in_bytes(n_bytes / max(self.seconds, 1e-3))}/s"
