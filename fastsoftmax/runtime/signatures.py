"""Signatures of kernels' arguments as text: what a table of compiled kernels is looked up by.

Joined by commas: an array is its dtype, a colon, its dimensions and its memory order ("f4:2C", orders "C",
"F" or "A" for any other), an integer "q", a float "d", a bool "?", a tuple "(q,d)", and a named tuple of a
class that `named` has registered "LossGrad(q)".

Whether an array may be written is not part of it: machine code for an array that may reads one that may not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES: dict[type, str] = {}  # of the classes that `named` has registered
MAX_DIMENSIONS = 9  # one digit
KINDS = frozenset(("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"))
Class = TypeVar("Class", bound=type)


def named(cls: Class) -> Class:
    """Register a named tuple's class, as a decorator: kernels take its instances as arguments.

    ValueError if another class has that name: they would share compiled kernels.
    """
    for other, name in NAMES.items():
        if name == cls.__name__ and (other.__module__, other.__qualname__) != (
            cls.__module__,
            cls.__qualname__,
        ):
            raise ValueError(f"{cls.__module__} and {other.__module__} both have a class {name} for kernels")
    NAMES[cls] = cls.__name__
    return cls


def signature_of(*arguments: Any) -> str | None:
    """Return the signature of arguments, or None where one has no description.

    Such are unaligned and byte-swapped arrays, those of more than nine dimensions, subclasses of ndarray,
    integers of more than 64 bits, NumPy's scalars but float64, and instances of classes that are not
    registered.
    """
    found = [_described(argument) for argument in arguments]
    return None if None in found else ",".join(map(str, found))


def _described(argument: Any) -> str | None:
    if type(argument) is np.ndarray:
        dtype, flags = argument.dtype, argument.flags
        kind = f"{dtype.kind}{dtype.itemsize}"
        if kind not in KINDS or not dtype.isnative or not flags.aligned or argument.ndim > MAX_DIMENSIONS:
            return None
        order = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
        return f"{kind}:{argument.ndim}{order}"
    if isinstance(argument, bool):
        return "?"
    if isinstance(argument, int):
        return "q" if -(2**63) <= argument < 2**63 else None
    if isinstance(argument, float):
        return "d"
    if type(argument) is tuple or type(argument) in NAMES:
        inside = signature_of(*argument)
        return None if inside is None else f"{NAMES.get(type(argument), '')}({inside})"
    return None


def parts(signature: str) -> Iterator[str]:
    """Yield the descriptions of the single arguments of a signature."""
    depth, start = 0, 0
    for place, letter in enumerate(signature):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            yield signature[start:place]
            start = place + 1
    if signature:
        yield signature[start:]
