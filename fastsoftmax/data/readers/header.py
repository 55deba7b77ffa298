"""Whether the first row of a text table holds names: decided by what the rest of each column holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.data.readers.table import listed
from fastsoftmax.data.readers.text_labels import number

if TYPE_CHECKING:
    from collections.abc import Sequence

# Cells that stand for a missing value, as pandas takes them.
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
)
_NEUTRAL = {*MISSING, "?", "-"}


def is_header(
    records: Sequence[Sequence[str]], *, labelled: bool, known: Sequence[str] = ()
) -> tuple[bool, tuple[str, ...]]:
    """Tell whether the first record is a row of names, and what is to be said about it.

    Parameters
    ----------
    records : sequence of sequences of str
        The first rows of the table.
    labelled : bool
        Whether one of the columns holds labels.
    known : sequence of str
        Names that a row of names is known to have.

    Notes
    -----
    Words over a column of numbers are names. A word that the rows below it have, too, is a label, and one
    that they do not have though they repeat theirs is a name, unless all numbers beside it are within the
    range of those below them. A first row of numbers alone is a row of data,
    unless they are 0, 1, 2, ... or 1, 2, 3, ... (as `DataFrame.to_csv` writes columns without names) or are
    unlike the numbers below them (`_unlike`).
    """
    first, rest = list(records[0]), [record for record in records[1:] if len(record) == len(records[0])]
    below = [[cell for cell in column if cell not in _NEUTRAL] for column in zip(*rest)]
    below = below or [[] for _ in first]
    words = [j for j, cell in enumerate(first) if cell not in _NEUTRAL and number(cell) is None]
    numbers = [cell for cell in first if cell not in _NEUTRAL and number(cell) is not None]
    if {*first} & {*known}:
        return True, ()
    if any(below[j] and _are_numbers(below[j]) for j in words) or not numbers:
        return True, ()
    seen = any(first[j] in below[j] for j in words)
    is_new = any(first[j] not in below[j] and len({*below[j]}) < len(below[j]) for j in words)
    if len(words) > (1 if labelled else 0) and not seen:
        return True, ()
    is_new = is_new and not _is_within(first, below)
    header = not seen and (is_new or _is_counted(numbers) or _unlike(first, below, labelled and not words))
    if header:
        shown = listed(first, 4)
        return True, (f"the first row ({shown}) is taken for column names; --no-header: it is data",)
    return False, ()


def _are_numbers(cells: Sequence[str]) -> bool:
    """Whether most cells are numbers: a few may be damaged."""
    return 2 * sum(number(cell) is not None for cell in cells) > len(cells)


def _is_counted(numbers: Sequence[str]) -> bool:
    """Whether numbers are 0, 1, 2, ... or 1, 2, 3, ..."""
    counted = [str(j) for j in range(len(numbers) + 1)]
    return len(numbers) > 1 and list(numbers) in (counted[:-1], counted[1:])


def _is_within(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether every number of a first row is between two of those below it."""
    for cell, column in zip(first, below):
        value, values = number(cell), [each for each in map(number, column) if each is not None]
        if value is not None and not (values and min(values) <= value <= max(values)):
            return False
    return True


def _unlike(first: Sequence[str], below: Sequence[Sequence[str]], last_is_label: bool) -> bool:
    """Whether the numbers of a first row are no values of their columns.

    That is: all different, and in every column further from the values below than these are from each other,
    or whole where all of those have a decimal point; or over the labels, a number that is none of them.
    """
    pairs = [(cell, column) for cell, column in zip(first, below) if number(cell) is not None and column]
    if len({cell for cell, _ in pairs}) < len(pairs) or len(pairs) < 2:
        return False
    if last_is_label:
        labels = {*below[-1]}
        if 2 * len(labels) <= len(below[-1]):
            return first[-1] not in labels
        pairs = pairs[:-1] if len(pairs) > 2 else pairs
    if all(cell.lstrip("+-").isdecimal() and all("." in each for each in column) for cell, column in pairs):
        return True
    return all(_is_far(cell, column) for cell, column in pairs)


def _is_far(cell: str, column: Sequence[str]) -> bool:
    """Whether a number is further from those of a column (three at least) than they are from each other."""
    values = [value for value in map(number, column) if value is not None]
    value = number(cell)
    if value is None or len(values) < 3:
        return False
    low, high = min(values), max(values)
    return max(low - value, value - high) > high - low
