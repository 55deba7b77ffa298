"""How values stand in messages."""

from __future__ import annotations

import numpy as np


def shown(value: object) -> str:
    """Return the repr of a value, with NumPy's scalars as Python's: 'a', not np.str_('a').

    Elements of lists, tuples, sets, dictionaries and arrays are shown in the same way, arrays as lists.

    Examples
    --------
    >>> shown(np.str_("a")), shown([np.int64(3), None]), shown(np.array([0.5, np.nan]))
    ("'a'", '[3, None]', '[0.5, nan]')
    """
    return repr(_plain(value))


def _plain(value: object) -> object:
    """Return Python's value for a NumPy scalar, also within containers."""
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        if isinstance(value, np.floating):  # a longdouble has no Python value of its own
            return float(value)
        return value.item() if value.dtype.kind in "biucSUO" else str(value)
    for kind in (list, tuple, set, frozenset):  # no named tuples, whose elements have names
        if type(value) is kind:
            return kind(map(_plain, value))
    if type(value) is dict:
        return {_plain(key): _plain(each) for key, each in value.items()}
    return value
