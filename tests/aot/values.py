"""Arguments of entries: named tuples that have a name in signatures, and one that has none."""

from __future__ import annotations

from collections import namedtuple

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"]

Point = namedtuple("Point", "x y")
Empty = namedtuple("Empty", "")
Other = namedtuple("Other", "x y")
NAMES = {Point: "Point", Empty: "Empty"}


class Whole(int):
    """An int that attributes can be given to."""
