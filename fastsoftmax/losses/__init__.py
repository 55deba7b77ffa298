"""The losses by name, and the family that a loss belongs to.

A family is a module with the interface of `contracts.protocols.LossFamily`, for objectives; its row functions
for kernels stand in a module of `losses.jitted`, which is imported, with Numba, where one has to be compiled.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from fastsoftmax.contracts.wording import shown
from fastsoftmax.runtime import lazy_imports

if TYPE_CHECKING:
    from fastsoftmax.contracts import Loss
    from fastsoftmax.contracts.protocols import LossFamily

_FAMILIES: dict[str, str | LossFamily] = {
    "softmax": "fastsoftmax.losses.softmax",
    "sigmoid": "fastsoftmax.losses.sigmoid",
}


def names() -> tuple[str, ...]:
    """Return the names of the losses."""
    return tuple(_FAMILIES)


def add(name: str, family: LossFamily) -> None:
    """Add a loss family under a name. Its row functions must have been registered."""
    _FAMILIES[name] = family


def family(name: str) -> LossFamily:
    """Return the family of a loss by name. Raises ValueError for an unknown name."""
    found = _FAMILIES.get(name)
    if found is None:
        raise ValueError(f"loss must be one of {', '.join(map(repr, _FAMILIES))}; got {shown(name)}")
    return cast("LossFamily", lazy_imports.module(found)) if isinstance(found, str) else found


def has_row_functions(loss: Loss) -> bool:
    """Return whether a loss has row functions, so that there can be kernels for it."""
    from fastsoftmax.losses import sigmoid, softmax

    if type(loss) in (*softmax.KINDS, *sigmoid.KINDS):
        return True
    others: Any = sys.modules.get("fastsoftmax.losses.row_functions")  # it imports Numba, and registers them
    return others is not None and others.registered(loss)


def family_of(loss: Loss) -> LossFamily:
    """Return the family of a loss by its named tuple. Raises TypeError for an unknown type."""
    for name in _FAMILIES:
        found = family(name)
        if type(loss) in found.KINDS:
            return found
    raise TypeError(f"unknown loss {type(loss).__name__}: known are {', '.join(_FAMILIES)} (losses.add)")
