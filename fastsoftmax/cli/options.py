"""The options and arguments that commands share, and checks of options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastsoftmax.data import readers

if TYPE_CHECKING:
    from collections.abc import Callable

_DATA_HELP = f"An embedded set ({', '.join(readers.EMBEDDED)}) or a file ({readers.KINDS})."
Data = Annotated[str, typer.Argument(metavar="DATA", help=_DATA_HELP)]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A file written by `fit --out`.")]
Target = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Label column, by name or index (default: the last).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to use (default: all cores).")]


def positive(value: float | None) -> float | None:
    """Return the value of an option, refused unless it is above zero."""
    if value is not None and not value > 0:
        raise typer.BadParameter(f"{value} is not above 0")
    return value


def ends_in(*suffixes: str) -> Callable[[str | None], str | None]:
    """Return a check of an option: a file name that ends in one of the suffixes."""

    def check(value: str | None) -> str | None:
        if value is not None and Path(value).suffix.lower() not in suffixes:
            raise typer.BadParameter(f"{value!r} ends in none of {', '.join(suffixes)}")
        return value

    return check
