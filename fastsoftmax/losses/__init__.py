"""The losses by name, and the family that a loss belongs to.

A family is a module with the interface of `contracts.protocols.LossFamily`, for objectives; it registers row
functions for kernels (`losses.row_functions`). It is imported, with Numba, on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

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


def family_of(loss: Loss) -> LossFamily:
    """Return the family of a loss by its named tuple. Raises TypeError for an unknown type."""
    for name in _FAMILIES:
        found = family(name)
        if type(loss) in found.KINDS:
            return found
    raise TypeError(f"unknown loss {type(loss).__name__}: known are {', '.join(_FAMILIES)} (losses.add)")
