"""Tiles of X for products: C-ordered, of the products' dtype, gathered from any dense storage.

A compiled pass is given X's address, its strides and a code for its dtype, not a type: else it would be
compiled, for seconds, for each dtype, order and read-only flag. Contiguous rows are widened a register at a
time; a column-major X by squares of one register each way, which are then transposed. Either costs a fraction
of the product that follows.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Halves
from fastsoftmax.kernels.cpu.partition import MAX_PARTS
from fastsoftmax.kernels.cpu.structs import CODES, Products, Stored
from fastsoftmax.runtime import blas
from fastsoftmax.runtime.executor import even_bounds, run
from fastsoftmax.runtime.kernels import Kernel, address, is_interpreted
from fastsoftmax.runtime.width import width

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array, DType

SKINNY = "dots_to", "outer_to"

_transpose = Kernel("fastsoftmax.kernels.cpu.jitted.gather", "transpose", divisible=True)


def stored(X: Array | Halves, dtype: DType | type) -> Any:
    """Return a dense matrix (n, d), of a dtype in `CODES`, as a `Stored`, for tiles of `dtype`.

    Raises KeyError for any other dtype of X. Where kernels are interpreted it is X itself.
    """
    if is_interpreted():  # plain Python reads no addresses
        return X
    numbers = X.bits if isinstance(X, Halves) else X
    rows, columns = numbers.strides
    place = numbers.__array_interface__["data"][0]
    gather = _gather_address(np.dtype(dtype).itemsize)
    return Stored(place, rows, columns, numbers.itemsize, CODES[X.dtype], gather)


# Both are asked for in every pass: putting a signature together takes longer than remembering the address.
@functools.cache
def _gather_address(itemsize: int) -> Any:
    signature = f"Stored(q,q,q,q,q,q),q,f{itemsize}:2C"
    return address("fastsoftmax.kernels.cpu.jitted.gather", "gather_any", signature)


@functools.cache
def products(dtype: DType) -> Products:
    """Return the addresses of products of float32 or float64 matrices; zeros where only BLAS's are taken."""
    if not width().max_classes:
        return Products(0, 0, blas.gemm_address(dtype))
    matrix = f"f{dtype.itemsize}:2C"
    skinny = "fastsoftmax.simd.skinny_products"
    dots_to, outer_to = (address(skinny, name, f"{matrix},{matrix},{matrix}") for name in SKINNY)
    return Products(dots_to, outer_to, blas.gemm_address(dtype))


def columns_to(X: Array | Halves, out: Array, n_threads: int | None) -> None:
    """Write the transpose of a dense matrix (n, d), widened to the dtype of out, to out (d, n), C-ordered."""
    bounds = even_bounds(X.shape[0], MAX_PARTS)
    run(_transpose, bounds, stored(X, out.dtype), out, work=out.size, n_threads=n_threads)
