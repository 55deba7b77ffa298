"""Solvers by name: methods that minimise an `Objective`, of which they see nothing but the protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fastsoftmax.contracts.protocols import OFFERS
from fastsoftmax.runtime import lazy_imports

if TYPE_CHECKING:
    from fastsoftmax.contracts.protocols import Objective, Solver

SOLVERS = {
    "direct": "fastsoftmax.solvers.direct",
    "lbfgs": "fastsoftmax.solvers.lbfgs",
    "newton-cg": "fastsoftmax.solvers.newton_cg",
    "newton-cholesky": "fastsoftmax.solvers.newton_cholesky",
    "sampled-newton": "fastsoftmax.solvers.sampled_newton",
    "proximal-newton": "fastsoftmax.solvers.proximal_newton",
    "sampled-proximal": "fastsoftmax.solvers.sampled_proximal",
}


def accepting(name: str, objective: Objective) -> Solver:
    """Return the solver of that name, checked to accept the objective.

    Raises
    ------
    ValueError
        If the objective lacks a capability that the solver needs; the message names it.
    """
    solver = cast("Solver", lazy_imports.module(SOLVERS[name]))
    missing = [OFFERS[need] for need in sorted(solver.NEEDS - objective.offers)]
    if missing:
        raise ValueError(f"solver {name!r} needs {' and '.join(missing)}, which this objective has not")
    return solver
