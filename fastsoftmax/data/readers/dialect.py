"""How a text table is written: its separator, its decimal mark, and its first records."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, NamedTuple

from fastsoftmax.data.readers.table import opened

if TYPE_CHECKING:
    from pathlib import Path

BLANKS = r"\s+"
NAMES = {"\t": "a tab", ";": "';'", "|": "'|'", BLANKS: "blanks", ",": "','"}
_FIRST_BYTES, _MOST_BYTES = 2**16, 2**26
_MAX_RECORDS = 1000
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


class Dialect(NamedTuple):
    """The separator, the decimal mark, and the first records, their cells as text."""

    sep: str
    decimal: str
    records: list[list[str]]


def found(path: Path, sep: str | None) -> Dialect:
    """Return how a text table, plain or compressed, is written, by its beginning.

    Parameters
    ----------
    path : pathlib.Path
    sep : str, optional
        The separator, if it is known.

    Notes
    -----
    A separator is one that gives every record the same number of cells, more than one. Of several, the comma
    comes last: it is also a decimal mark. Reads 64 KiB, more where three records are longer.
    """
    size = _FIRST_BYTES
    while True:
        text, whole = _beginning(path, size)
        if whole or text.count("\n") > 3 or size >= _MOST_BYTES:
            break
        size *= 8
    return of_text(text, sep, whole=whole)


def of_text(text: str, sep: str | None = None, *, whole: bool = False) -> Dialect:
    """Return how the beginning of a text is written; its last line may be a part unless it is `whole`."""
    if not whole:
        text = text[: text.rfind("\n") + 1] or text
    sep = sep or _separator(text)
    records = _records(text, sep)
    cells = [cell for record in records[1:] for cell in record]
    commas = sep != "," and any(_DECIMAL_COMMA.fullmatch(cell) for cell in cells)
    points = any(re.fullmatch(r"[+-]?\d*\.\d+", cell) for cell in cells)
    return Dialect(sep, "," if commas and not points else ".", records)


def _beginning(path: Path, size: int) -> tuple[str, bool]:
    """Return the first characters of a file, and whether these are all."""
    with opened(path) as file:
        content = file.read(size + 1)
    text = content[:size].decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return text, len(content) <= size


def _separator(text: str) -> str:
    """Return what separates the cells of a text."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    for sep in ("\t", ";", "|", ","):
        if sep in first and _fits(text, sep):
            return sep
    for sep in (",", "\t", ";", "|"):
        if sep in first:
            return sep
    return BLANKS if _fits(text, BLANKS) else ","


def _fits(text: str, sep: str) -> bool:
    """Whether a separator gives every record the same number of cells, more than one."""
    try:
        widths = {len(record) for record in _records(text, sep)}
    except csv.Error:  # a cell too long for a cell
        return False
    return len(widths) == 1 and max(widths) > 1


def _records(text: str, sep: str) -> list[list[str]]:
    """Return the first records of a text, without empty ones; blanks around cells are left out."""
    records: list[list[str]] = []
    lines = csv.reader(
        io.StringIO(text, newline=""), delimiter=" " if sep == BLANKS else sep, skipinitialspace=True
    )
    for record in lines:
        cells = [cell.strip() for cell in record]
        if sep == BLANKS:
            cells = [cell for cell in cells if cell]
        if cells and (any(cells) or len(cells) > 1):
            records.append(cells)
        if len(records) > _MAX_RECORDS:
            break
    return records
