"""The output of the command line: one live line, plain tables, JSON, and failures in one line."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from fastsoftmax.runtime import compiling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.live import Live

    from fastsoftmax.contracts import Array, Record
    from fastsoftmax.runtime.compiling import Compilation

INTERRUPTED, PIPE_CLOSED = 130, 141  # 128 + the signal's number, as shells count


def one_line(text: object) -> str:
    """Return a message with its line breaks and runs of blanks made single blanks."""
    return " ".join(str(text).split())


def says_failures(command: Callable[..., None]) -> Callable[..., None]:
    """Wrap a command so that it ends in a status and one line, and warnings are one line each."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            line = _CompilingLine().show if sys.stderr.isatty() else None
            with warnings.catch_warnings(), compiling.reporting(line):
                warnings.filterwarnings("always", category=UserWarning)
                # print, not typer.echo: that would go past the live line and not above it
                warnings.showwarning = lambda message, *where: print(
                    f"fastsoftmax: warning: {one_line(message)}", file=sys.stderr
                )
                command(*args, **options)
                sys.stdout.flush()
        except KeyboardInterrupt:
            typer.echo("fastsoftmax: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # the reader of a pipe (`| head`) has read enough; the interpreter must not flush into it again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(PIPE_CLOSED) from None
        except (typer.Exit, typer.BadParameter):
            raise
        except Exception as error:
            if sys.flags.dev_mode:
                raise
            typer.echo(f"fastsoftmax: {_reason(error)}", err=True)
            raise typer.Exit(1) from error

    return run


def _reason(error: Exception) -> str:
    """Return one line: a message meant for the user as it is, anything else with its kind."""
    text = one_line(error)
    if isinstance(error, MemoryError):
        return f"not enough memory {text}".strip()
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ValueError | OSError | ImportError | RuntimeError | ArithmeticError) and text:
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def can_ask() -> bool:
    """Return whether somebody sees a question on stderr and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(question: str) -> bool:
    """Return the answer to a yes-or-no question on stderr: no if it is interrupted."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        return False


class _CompilingLine:
    """A line on a terminal that is there while kernels are compiled."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, compilation: Compilation) -> None:
        """Write what is being compiled over the last text, or blanks if nothing is any more."""
        width = shutil.get_terminal_size().columns - 1  # beyond the last column a terminal wraps
        text = str(compilation)[:width] if compilation.name else ""
        ending = "" if text else "\r"
        print(f"\r{text:<{len(self._shown)}}", end=ending, file=sys.stderr, flush=True)
        self._shown = text


class Progress:
    """One live line on stderr while a fit runs; silent where stderr is not a terminal."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._reports = contextlib.ExitStack()
        self._count = 0
        self._shown = 0.0

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
            self._reports.enter_context(compiling.reporting(lambda each: self.say(str(each))))
        return self

    def __exit__(self, *error: object) -> None:
        self._reports.close()
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """Replace the live line by a text."""
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(text, no_wrap=True, overflow="ellipsis", style="cyan"), refresh=True)

    @property
    def is_live(self) -> bool:
        """Whether anything is shown."""
        return self._live is not None

    def say_seldom(self, text: str) -> None:
        """Replace the live line, ten times a second at most."""
        now = time.perf_counter()
        if self._live is not None and now - self._shown >= 0.1:
            self._shown = now
            self.say(text)

    def record(self, record: Record) -> None:
        """Show a record; a small fit makes thousands a second."""
        self._count += 1
        far = f"gradient {record.grad_norm:.2e}" if record.gap is None else f"gap {record.gap:.2e}"
        self.say_seldom(
            f"iteration {self._count - 1}   objective {record.objective:.8f}   {far}   "
            f"{record.passes} passes   {record.seconds:.1f} s"
        )


def print_json(result: dict[str, Any]) -> None:
    """Print one line of strict JSON: floats that it has no number for become "inf", "-inf" or "nan"."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        if isinstance(value, list):
            return [plain(each) for each in value]
        value = value.item() if isinstance(value, np.generic) else value
        return str(value) if isinstance(value, float) and not np.isfinite(value) else value

    typer.echo(json.dumps(plain(result), allow_nan=False, ensure_ascii=False))


def print_notes(notes: Sequence[str]) -> None:
    """Print what is to be said of a data set to stderr, where results do not go."""
    for note in notes:
        typer.echo(f"fastsoftmax: note: {one_line(note)}", err=True)


def print_rows(*rows: tuple[str, str]) -> None:
    """Print names and values in two columns: folded to a terminal's width, but never in a pipe."""
    if not sys.stdout.isatty():
        width = max(len(name) for name, _ in rows)
        typer.echo("\n".join(f"{name:<{width}}   {value}" for name, value in rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 3))
    for name, value in rows:  # Text: a file name in square brackets is no markup
        table.add_row(Text(name, style="cyan", no_wrap=True), Text(value, overflow="fold"))
    Console(highlight=False).print(table)


def nats(gap: float | None) -> str:
    """Return a duality gap as text."""
    return "not certified" if gap is None else f"{gap:.2e} nats"


def listed(labels: Sequence[object] | Array, width: int = 72) -> str:
    """Return the first labels of a sequence, as many as fit the width; if some are left out, their number."""
    shown: list[str] = []
    for label in map(str, labels[:8]):
        width -= len(label) + 2
        if shown and width < 0:
            break
        shown.append(label)
    text = ", ".join(shown)
    return text if len(shown) == len(labels) else f"{text}, ... ({len(labels)})"
