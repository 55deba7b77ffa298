"""Labels as they stand in a text file: numbers only where nothing is lost by it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastsoftmax.contracts import Array

_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")  # 18 digits fit int64


def converted(labels: Sequence[str], as_text: bool = False) -> tuple[Array, tuple[str, ...]]:
    """Return distinct labels as an array, and what is to be said about it.

    Parameters
    ----------
    labels : sequence of str
        Each once.
    as_text : bool, default=False
        Leave them as text whatever they look like.

    Returns
    -------
    values : ndarray (k,)
        int64, bool or float64 where each number or truth value, written down again, is the label to the
        last character; text otherwise. Numbers with fractions are float64 in any case: no labels, but
        measurements, which an estimator refuses.
    notes : tuple of str

    Examples
    --------
    >>> converted(["1", "2"])[0], converted(["0111", "111"])[0]
    (array([1, 2]), array(['0111', '111'], dtype='<U4'))
    """
    if as_text or not labels:
        return np.array(labels, dtype=str), ()
    if all(_WHOLE.fullmatch(label) and label.isascii() for label in labels):
        return np.array([int(label) for label in labels], dtype=np.int64), ()
    if set(labels) <= {"True", "False"}:
        return np.array([label == "True" for label in labels]), ()
    numbers = [number(label) for label in labels]
    if any(value is None or not math.isfinite(value) for value in numbers):
        return np.array(labels, dtype=str), ()
    values = np.array(numbers, dtype=np.float64)
    if all(map(str.__eq__, map(repr, values.tolist()), labels)) or (values != np.rint(values)).any():
        return values, ()
    odd = next(label for label in labels if not _WHOLE.fullmatch(label))
    return np.array(labels, dtype=str), (f"labels such as {odd!r} are kept as they stand, as text",)


def number(cell: str) -> float | None:
    """Return a cell as the number that it is, or None.

    Examples
    --------
    >>> number("1e3"), number("yes"), number("1_0")
    (1000.0, None, None)
    """
    if "_" in cell or not cell.isascii():  # Python's own ways to write a number
        return None
    try:
        return float(cell)
    except ValueError:
        return None
