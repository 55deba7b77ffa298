"""The options and arguments that commands share, and checks of options."""

from __future__ import annotations

import csv
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fastsoftmax.data import readers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DATA_HELP = (
    f"An embedded set ({', '.join(readers.EMBEDDED)}), a file ({readers.KINDS}), or - for standard input. "
    "Read by blocks: several files, folders and patterns; .arrow, .feather, .h5ad, .zarr and .csv.zst."
)
_BLOCK_FORMATS = ("arrow", "feather", "csv.zst", "tsv.zst", "h5ad", "zarr")  # that are read by blocks only
_BLANKS = r"\s+"
_SEPARATORS = {"tab": "\t", "\\t": "\t", "blanks": _BLANKS, "space": _BLANKS, " ": _BLANKS}


def positive(value: float | None) -> float | None:
    """Return the value of an option, refused unless it is above zero."""
    if value is not None and not value > 0:
        raise typer.BadParameter(f"{value} is not above 0")
    return value


def fraction(value: float | None) -> float | None:
    """Return the value of an option, refused unless it lies between zero and one."""
    if value is not None and not 0 < value < 1:
        raise typer.BadParameter(f"{value} is not between 0 and 1")
    return value


def ends_in(*suffixes: str) -> Callable[[str | None], str | None]:
    """Return a check of an option: a file name that ends in one of the suffixes."""

    def check(value: str | None) -> str | None:
        if value is not None and Path(value).suffix.lower() not in suffixes:
            raise typer.BadParameter(f"{value!r} ends in none of {', '.join(suffixes)}")
        return value

    return check


def ends_in_none(*suffixes: str) -> Callable[[str | None], str | None]:
    """Return a check of an option: a file name that does not promise another format than is written."""

    def check(value: str | None) -> str | None:
        if value is not None and Path(value).suffix.lower() in suffixes:
            raise typer.BadParameter(
                f"{value!r} ends in {Path(value).suffix}, but a model file is written (.safetensors)"
            )
        return value

    return check


def separator(value: str | None) -> str | None:
    """Return what separates columns: one character, or a name for it."""
    if value is None:
        return None
    value = _SEPARATORS.get(value, value)
    if value != _BLANKS and (len(value) != 1 or value.isalnum() or value in '"\n\r\0'):
        raise typer.BadParameter(f"{value!r} is no separator; takes one character, tab or blanks")
    return value


def known_format(value: str | None) -> str | None:
    """Return the name of a format, refused unless there is a reader for it."""
    if value is None:
        return None
    value = value.lower().removeprefix(".")
    if value not in (known := dict.fromkeys((*readers.FORMATS, *_BLOCK_FORMATS))):
        raise typer.BadParameter(f"{value!r} is none of {', '.join(known)}")
    return value


def columns_of(values: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns that an option names, separated by commas, with quotes as in a CSV file.

    Examples
    --------
    >>> columns_of(['a, b', '"c, d"'])
    ('a', 'b', 'c, d')
    """
    rows = csv.reader(values or (), skipinitialspace=True)
    return tuple(column.strip() for row in rows for column in row if column.strip())


class IndexBase(StrEnum):
    """Where the indices of an svmlight file start."""

    auto = "auto"
    zero = "0"
    one = "1"

    @property
    def number(self) -> int | None:
        """The first index, or None where it is to be found."""
        return None if self is IndexBase.auto else int(self.value)


def size(value: str | None) -> str | None:
    """Return the value of an option, refused unless it is a size: bytes, or a number with K, M, G or T."""
    if value is not None:
        from fastsoftmax.data.blocks.memory import memory_of

        try:
            memory_of(value)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return value


class Selection(StrEnum):
    """The choices by cross-validation that can be named on the command line."""

    best = "best"
    one_standard_error = "one_standard_error"


def ratios(values: list[float] | None) -> list[float] | None:
    """Return the values of an option, refused unless they lie between zero and one or are these."""
    for value in values or ():
        if not 0 <= value <= 1:
            raise typer.BadParameter(f"{value} is not from 0 to 1")
    return values


Ratios = Annotated[
    list[float] | None,
    typer.Option(
        "--l1-ratio",
        metavar="R",
        callback=ratios,
        help="The penalty's part of absolute values, 0 to 1: above 0 coefficients are exactly zero. With "
        "--cv it may be given several times.",
    ),
]
Folds = Annotated[
    int | None,
    typer.Option("--cv", metavar="FOLDS", min=2, help="Choose C (and --l1-ratio) by cross-validation."),
]
Selections = Annotated[
    Selection | None,
    typer.Option(
        "--selection",
        help="With --cv: the best mean score, or the simplest within a standard error of it.",
    ),
]
Scoring = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="With --cv: one of scikit-learn's scores (neg_log_loss; accuracy for a matrix)."
    ),
]
Data = Annotated[list[str], typer.Argument(metavar="DATA", help=_DATA_HELP)]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="A file written by `fit --out`.")]
Target = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Label column, by name or index (default: that of the model, or the last)."
    ),
]
Sep = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER",
        callback=separator,
        help="What separates columns of text: a character, tab, blanks (default: it is found).",
    ),
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="The first row holds names, or data (default: the rows below decide)."
    ),
]
Format = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", callback=known_format, help="In place of the file's suffix."),
]
Base = Annotated[
    IndexBase, typer.Option("--index-base", help="First index of an svmlight file (auto: as the model's).")
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        callback=size,
        help="Read DATA by blocks, holding at most this much (500M, 2G; default: 1G, for DATA that is larger "
        "than a third of the free memory).",
    ),
]
Cache = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Keep decoded blocks here for the next run (default: a temporary folder, if decoding is slow).",
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Decode DATA in every reading, on any disk.")]
Layer = Annotated[
    str | None, typer.Option(metavar="NAME", help="The layer of AnnData (.h5ad, .zarr) in place of X.")
]
DropMissing = Annotated[bool, typer.Option("--drop-missing", help="Leave out rows with empty cells.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads to use (default: all cores).")]
