"""Which kernels a piece of work will call, in about the order in which it does: what is compiled ahead of it.

A plan that lacks a kernel, or names one that is not called, costs time and nothing else.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from fastsoftmax.contracts import Csr, compute_dtype
from fastsoftmax.losses.softmax import SoftmaxIndex, SoftmaxProbability
from fastsoftmax.runtime.signatures import signature_of

if TYPE_CHECKING:
    from fastsoftmax.contracts import Loss, RowBlock, Rows

JITTED = "fastsoftmax.kernels.cpu.jitted"
VECTORS = "fastsoftmax.linalg.jitted.vectors"
STORED, PRODUCTS = "Stored(q,q,q,q,q,q)", "Products(q,q,q)"
# (module, name, signature); fields: the dtype x of products, the index dtype i, the loss, its target.
FIRST_DENSE = (
    ("fastsoftmax.simd.skinny_products", "dots_to", "{x}:2C,{x}:2C,{x}:2C"),
    ("fastsoftmax.simd.skinny_products", "outer_to", "{x}:2C,{x}:2C,{x}:2C"),
    (f"{JITTED}.gather", "gather_any", f"{STORED},q,{{x}}:2C"),
)
SUMS = (
    f"{{verb}},{{loss}},?,{PRODUCTS},{STORED},{{target}},f8:2C,{{x}}:4C,{{x}}:3C,q,{{x}}:2C,"
    "f8:3C,f8:1C,f8:4C,f8:3C,{x}:2C"
)
FIRST_SPARSE = (
    (f"{JITTED}.index_checks", "faults", "{i}:1C,{i}:1C,q,i8:2C"),
    (f"{JITTED}.copies", "copy", "f8:2F,{x}:2C"),
    (f"{JITTED}.csr", "balanced_bounds", "{i}:1C,i8:1C,i8:1C"),
)
FORWARD = "{verb},{loss},{x}:1C,{i}:1C,{i}:1C,{target},f8:1C,{x}:3C,{x}:2C,q,{x}:2C,{x}:2C,f8:1C,f8:1C,f8:2C"
SINGLE_SPARSE = "{verb},{loss},?,f8:1C,{i}:1C,{i}:1C,f8:2C,f8:1C,f8:2C,f8:2C,q,f8:2C,f8:1C,f8:2C,f8:2C"
BACK = (f"{JITTED}.csr", "back", "?,{x}:1C,{i}:1C,{i}:1C,{x}:2C,q,f8:2C")
TURNED_DENSE = (
    (f"{JITTED}.gather", "gather_any", f"{STORED},q,f8:2C"),
    (f"{JITTED}.gather", "transpose", f"{STORED},f8:2C"),
)
TURNED_SPARSE = ((f"{JITTED}.csr", "scatter", "{x}:1C,{i}:1C,{i}:1C,f8:2C"),)
STEPS = (
    (VECTORS, "penalise", "f8:1C,d,d,f8:1C,f8:1C"),
    (VECTORS, "dots", "f8:2C,i8:1C,f8:1C,f8:2C"),
    (f"{JITTED}.grams", "add_grams", "q,f8:2C,f8:2C,f8:3C"),
    (VECTORS, "copy", "f8:1C,f8:1C"),
    ("fastsoftmax.linalg.jitted.cholesky", "solve", "f8:3C,f8:2C,f8:2C"),
    (VECTORS, "combine", "f8:1C,f8:2C,i8:1C,d,f8:1C,f8:1C,f8:1C,f8:1C"),
    (VECTORS, "moved", "f8:1C,f8:1C,d,f8:1C"),
    (VECTORS, "differ", "f8:1C,f8:1C,f8:1C,f8:1C,f8:1C,f8:1C,f8:1C,f8:1C,f8:1C,f8:2C"),
)
ADVANCE = (
    "fastsoftmax.linalg.jitted.quasi_newton",
    "advance",
    "i8:2C,f8:2C,f8:1C" + ",f8:2C" * 7 + ",f8:3C,f8:3C" + ",f8:2C" * 3,
)
FEASIBLE = (f"{JITTED}.feasible", "feasible", "?,f8:2C,f8:1C,d,f8:1C,f8:1C,f8:1C,f8:1C")
LOGITS_DENSE = (f"{JITTED}.dense", "write_logits", f"{PRODUCTS},{STORED},{{x}}:2C,{{x}}:1C,i8:1C,q,{{x}}:2C")
LOGITS_SPARSE = (f"{JITTED}.csr", "write_logits", "{x}:1C,{i}:1C,{i}:1C,{x}:2C,{x}:1C,{x}:2C")
CURVATURES = (f"{JITTED}.grams", "curvatures", "{loss},?,q,q,{x}:2C,{target},f8:1C,f8:2C")


def fit_plan(loss: Loss, block: RowBlock, *, direct: bool = False) -> list[tuple[str, str, str]]:
    """Return (module, name, signature) of each kernel that a fit of typical size calls, the first first.

    By L-BFGS on a preconditioner with blocks of classes; other solvers call other verbs. With `direct` by the
    solver of small problems, whose products are float64.
    """
    is_sparse = isinstance(block.X, Csr)
    x = "f8" if direct else f"f{compute_dtype(block.X).itemsize}"
    index = f"i{block.X.indices.itemsize}" if is_sparse else ""
    is_single = direct and is_sparse and block.target.shape[1:] == (1,)
    return list(
        _filled(is_sparse, is_single, direct, x, index, signature_of(loss), signature_of(block.target))
    )


@functools.cache
def _filled(
    is_sparse: bool, is_single: bool, direct: bool, x: str, index: str, loss: str | None, target: str | None
) -> tuple[tuple[str, str, str], ...]:
    """Return a plan by all that it depends on. To put one together takes four passes over 150 × 4."""
    fields = {"x": x, "i": index, "loss": loss, "target": target}
    if is_single:
        module, name, sums = f"{JITTED}.csr_single_output", "sum_rows", SINGLE_SPARSE
    elif is_sparse:
        module, name, sums = f"{JITTED}.csr", "forward", FORWARD
    else:
        module, name, sums = f"{JITTED}.dense", "sum_rows", SUMS

    def passing(verb: str) -> tuple[str, str, str]:
        return module, name, sums.replace("{verb}", verb)

    first = passing("LossGrad(q)")
    rest = [passing("Dual(q,f8:1C,d,f8:1C)"), passing("Diagonal(q)")]
    plan: list[tuple[str, str, str]]
    if is_sparse:
        plan = [*FIRST_SPARSE, first] if is_single else [*FIRST_SPARSE, first, BACK]
        plan += [ADVANCE] if direct else [*STEPS[:2], *TURNED_SPARSE, *STEPS[2:]]
    else:
        plan = [*FIRST_DENSE, first]
        plan += [ADVANCE] if direct else [*STEPS[:2], *TURNED_DENSE, *STEPS[2:]]
    plan += [LOGITS_SPARSE if is_sparse else LOGITS_DENSE, FEASIBLE if direct else CURVATURES, *rest]
    filled = [(module, name, signature.format(**fields)) for module, name, signature in plan]
    return tuple(dict.fromkeys(filled))


def predict_plan(loss: Loss, X: Rows) -> list[tuple[str, str, str]]:
    """Return (module, name, signature) of each kernel that predictions call."""
    x = f"f{compute_dtype(X).itemsize}"
    if not isinstance(loss, SoftmaxIndex | SoftmaxProbability):
        return [_logits(X, x), (f"{JITTED}.rows", "sigmoid", f"{x}:1C,{x}:1C")]
    index = f"i{X.indices.itemsize}" if isinstance(X, Csr) else ""
    rows = f"({x}:1C,{index}:1C,{index}:1C)" if isinstance(X, Csr) else STORED
    top = f"{PRODUCTS},{rows},{x}:1C,{x}:1C,q,i8:1C,q,?,i8:2C,{x}:2C,f8:1C"
    softmax = (f"{JITTED}.rows", "softmax", f"{x}:2C,{x}:2C")
    return [_logits(X, x), softmax, (f"{JITTED}.top", "top", top)]


def _logits(X: Rows, x: str) -> tuple[str, str, str]:
    module, name, signature = LOGITS_SPARSE if isinstance(X, Csr) else LOGITS_DENSE
    index = f"i{X.indices.itemsize}" if isinstance(X, Csr) else ""
    return module, name, signature.format(x=x, i=index)
