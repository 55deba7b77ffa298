"""The progress of a fit on standard error: its steps, and the kernels that it waits for."""

from __future__ import annotations

import builtins
import contextlib
import io
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from fastsoftmax.contracts.sizes import in_bytes
from fastsoftmax.runtime import compiling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Record
    from fastsoftmax.data.blocks.look import SoFar
    from fastsoftmax.runtime.compiling import Compilation

SECONDS_AN_UPDATE = 0.1  # of a live line: a small fit makes thousands of steps
SECONDS_A_LINE = 5.0  # between plain lines about kernels, of which one is compiled several times a second


@contextlib.contextmanager
def shown(verbose: int) -> Iterator[ProgressLine | None]:
    """Yield the line of a call with that verbosity, on which kernels that are compiled appear by themselves.

    None if it is 0. The line is ended at the end.
    """
    if not verbose:
        yield None
        return
    line = ProgressLine()
    with compiling.reporting(line.compiling):
        try:
            yield line
        finally:
            line.end()


class ProgressLine:
    """One live line on a terminal and in a notebook; elsewhere plain lines, one a step.

    On a terminal the line is cut at its width. In a notebook it is one output of the cell that is replaced:
    what follows a carriage return is an output of its own where a notebook is run without a browser.
    Elsewhere kernels have a line when the first is compiled, then one every few seconds, and one when the
    next step or the end of the call follows.
    """

    def __init__(self) -> None:
        self._columns = _columns_of_live_line()
        self._text = ""
        self._shown = ""
        self._time = -float("inf")
        self._compilation: Compilation | None = None
        self._in_notebook = _is_notebook()
        self._output: Any = None  # of the cell, once there is something to say

    def show(self, record: Record) -> None:
        """Write the record of a step."""
        gap = "" if record.gap is None else f"  gap {record.gap:.2e}"
        read = f"  read {in_bytes(record.bytes_read)}" if record.bytes_read else ""
        text = (
            f"{record.seconds:8.2f} s  passes {record.passes:5d}{read}  objective {record.objective:.9f}"
            f"  gradient {record.grad_norm:.2e}{gap}"
        )
        self._end_compilation()
        if self._columns is None:
            print(text, file=sys.stderr)
        else:
            self._update(text, SECONDS_AN_UPDATE)

    def reading(self, so_far: SoFar) -> None:
        """Say how much has been read in a first reading, and how large the cache will be."""
        of = "" if so_far.likely_rows is None else f" of some {so_far.likely_rows:,}"
        cache = f", a cache of some {in_bytes(so_far.cache_bytes)}" if so_far.cache_bytes else ""
        text = f"first reading: {so_far.n_rows:,}{of} rows, {in_bytes(so_far.n_bytes)}{cache}"
        if self._columns is not None:
            self._update(text, SECONDS_AN_UPDATE)
        elif time.perf_counter() - self._time >= SECONDS_A_LINE:
            self._time = time.perf_counter()
            print(text, file=sys.stderr, flush=True)

    def fits(self, n_done: int, n_fits: int) -> None:
        """Say how many of several fits are done; a line at the end of each where there is no terminal."""
        text = f"{n_done:,} of {n_fits:,} fits"
        if self._columns is None:
            print(text, file=sys.stderr)
        else:
            self._update(text, SECONDS_AN_UPDATE)

    def compiling(self, compilation: Compilation) -> None:
        """Say what is being compiled."""
        first = self._compilation is None
        self._compilation = compilation
        if self._columns is not None:
            self._update(str(compilation), 0.0 if first else SECONDS_AN_UPDATE)
        elif first or (compilation.name and time.perf_counter() - self._time >= SECONDS_A_LINE):
            self._time = time.perf_counter()
            print(compilation, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Write what is not yet shown of a live line, and end it."""
        self._end_compilation()
        if self._text:
            self._rewrite()
            if not self._in_notebook:
                print(file=sys.stderr)
            self._output = None
            self._text = self._shown = ""

    def _end_compilation(self) -> None:
        """Say how much was compiled, if anything was since the last step."""
        if self._compilation is None:
            return
        n_done = self._compilation.n_done
        text = f"compiled {n_done} kernel{'s' if n_done > 1 else ''} in {self._compilation.seconds:.1f} s"
        self._compilation = None
        if self._columns is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._update(text, 0.0)

    def _update(self, text: str, seconds: float) -> None:
        self._text = text
        if time.perf_counter() - self._time >= seconds:
            self._rewrite()

    def _rewrite(self) -> None:
        text = self._text[: self._columns]
        if self._in_notebook:
            self._replace(text)
        else:
            self._overwrite(text)
        self._shown, self._time = text, time.perf_counter()

    def _replace(self, text: str) -> None:
        """Show a text as the output of the cell, in the place of the one before."""
        said = {"text/plain": text}
        if self._output is None:
            from IPython.display import display  # it runs this cell

            self._output = display(said, raw=True, display_id=True)
        else:
            self._output.update(said, raw=True)

    def _overwrite(self, text: str) -> None:
        print(f"\r{text:<{len(self._shown)}}", end="", file=sys.stderr, flush=True)


def _columns_of_live_line() -> int | None:
    """Return the width of a line that can be written over; None if there is no such line."""
    is_a_terminal = getattr(sys.stderr, "isatty", None)
    if is_a_terminal is not None and is_a_terminal():
        # One column stays free: a terminal wraps after writing to the last one.
        return shutil.get_terminal_size().columns - 1
    return sys.maxsize if is_a_terminal is None or _is_notebook() else None


def _is_notebook() -> bool:
    """Return whether standard error is that of a cell of a notebook, and not redirected."""
    shell = getattr(builtins, "get_ipython", lambda: None)()
    redirected = sys.stderr is None or isinstance(sys.stderr, io.StringIO | io.TextIOWrapper)
    return hasattr(shell, "kernel") and not redirected
