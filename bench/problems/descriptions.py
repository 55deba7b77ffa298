"""What a problem is: a name, a precision, and how its arrays are made.

A problem is a small frozen description. Its arrays are made on the first `load` and kept until another
problem is loaded, so that a run over the whole grid never holds more than one of them.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, ClassVar

import ml_dtypes  # noqa: F401 - from here on NumPy knows "bfloat16"

SEED = 20_240_607


@dataclass(frozen=True)
class Problem:
    """A description that can be hashed and printed; `make` is called by `load`, once."""

    name: str
    dtype: str
    quick: bool = field(default=True, kw_only=True)  # part of the default grid, or of the full one only
    rounds: int = field(default=5, kw_only=True)  # but fits that take long are timed once
    dear: tuple[str, ...] = field(default=(), kw_only=True)  # contenders left to the full grid
    real: ClassVar[bool] = False  # made of files that a checkout may lack

    @property
    def key(self) -> str:
        """The name in a test's id and in a result."""
        return f"{self.name}-{self.dtype}"

    def make(self) -> Any:
        """Make the arrays."""
        raise NotImplementedError


@functools.lru_cache(maxsize=1)
def load(problem: Problem) -> Any:
    """Give the arrays of a problem; those of the problem before are let go."""
    return problem.make()


def computed(dtype: str) -> str:
    """Name the precision that logits are computed with: 16 bits are for keeping them."""
    return dtype if dtype == "float64" else "float32"
