"""What kernels are given beside arrays and numbers: matrices by address, and addresses of other kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastsoftmax.runtime.signatures import named

UINT8, INT8, INT16, FLOAT16, FLOAT32, FLOAT64 = range(6)
CODES = {np.dtype(name): code for code, name in enumerate(("u1", "i1", "i2", "f2", "f4", "f8"))}


@named
class Stored(NamedTuple):
    """A dense matrix as kernels see it: address, strides in bytes, itemsize, and a code of its dtype.

    It does not keep the matrix alive; the caller of the kernel must.
    """

    address: int
    row_bytes: int
    column_bytes: int
    item_bytes: int
    code: int
    gather: int  # the address of `jitted.gather.gather_any`, compiled for the dtype of tiles


@named
class Products(NamedTuple):
    """Addresses of products for one dtype: both of `simd.skinny_products`, for `native.call`, and BLAS's."""

    dots_to: int
    outer_to: int
    gemm: int
