"""Pieces of kernels' signatures: what the library of compiled kernels is made for."""

from __future__ import annotations

FLOATS = ("f4", "f8")  # the dtypes of products
INDICES = ("i4", "i8")  # of sparse rows
VERBS = ("LossGrad(q)", "Hessp(q)", "Diagonal(q)", "Dual(q,f8:1C,d,f8:1C)")
STORED = "Stored(q,q,q,q,q,q)"
PRODUCTS = "Products(q,q,q)"


def losses(dtype: str) -> tuple[tuple[str, str], ...]:
    """Return each loss with the targets that it is for, where logits are of a dtype."""
    return (
        ("SoftmaxIndex(f8:1C,d,d,d,d)", "i8:1C"),
        ("SoftmaxProbability(f8:1C,d,d,d)", f"{dtype}:2C"),
        (f"Sigmoid(f8:1C,{dtype}:1C,d)", f"{dtype}:2C"),
    )
