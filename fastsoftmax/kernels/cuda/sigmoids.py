"""Sigmoids and their cross-entropies: labels that do not exclude each other need nothing of their row."""

from __future__ import annotations

import functools
from typing import Any

from fastsoftmax.kernels.cuda.groups import SHARED, exp, group, log1p
from fastsoftmax.kernels.cuda.packs import FORMATS, read_part, write_part
from fastsoftmax.kernels.cuda.runtime import cuda, kernel

THREADS = 256


@functools.cache
def sigmoid_kernel(logarithm: bool, form: str) -> Any:
    """Return a kernel that writes 1 / (1 + e^(−x)), or its logarithm, of each element.

    Returns
    -------
    kernel
        Its arguments: x and out, flat; how many elements; `lead`, how many elements past a multiple of 16
        bytes x begins; whether out begins elsewhere. A thread does one pack.
    """
    real, count = FORMATS[form].real, FORMATS[form].per_pack
    zero, one = real(0), real(1)

    def body(x, out, size, lead, out_skewed):
        room = cuda.local.array(count, real)
        first = (cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x) * count - lead
        read_part(x, 0, first, size, False, zero, room, 0, count)
        for j in range(count):
            z = room[j]
            e = exp(-abs(z))
            if logarithm:
                room[j] = (zero if z >= zero else z) - log1p(e)
            else:
                room[j] = (one if z >= zero else e) / (one + e)
        write_part(out, 0, first, size, out_skewed, room, 0, count)

    return kernel(body, THREADS)


@functools.cache
def sigmoid_loss_kernel(form: str, whole_block: bool, most_threads: int) -> Any:
    """Return a kernel that writes each row's sigmoid cross-entropy and its gradient.

    ℓ = Σ wₖ [log(1 + e^zₖ) − tₖ zₖ], ∂ℓ/∂zₖ = wₖ (σ(zₖ) − tₖ), of targets that are smoothed: (1 − ε) t + ε /
    2.

    Returns
    -------
    kernel
        Its arguments: x (n · K,); target (n · K,) and class_weight (K,) of the type of computing; weight
        (n,), or empty; values (n,) float64; out, which may be x or empty; n; K; lead; out_skewed; bits, the
        logarithm of the threads of a row; 1 − ε; ε / 2.
    """
    real, count = FORMATS[form].real, FORMATS[form].per_pack
    zero, one = real(0), real(1)
    _, total = group(real, whole_block)

    def body(x, target, class_weight, weight, values, out, n_rows, n_classes, lead, out_skewed, bits,
             keep, half):  # fmt: skip
        room = cuda.local.array(count, real)
        shared = cuda.shared.array(SHARED, real)
        lanes = 1 << bits
        thread = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        row = thread >> bits
        start = row * n_classes
        present = row < n_rows
        row_weight = weight[row] if weight.size > 0 and present else one
        counted = present and row_weight != zero
        width = n_classes if counted else 0
        value = zero
        first = (thread & (lanes - 1)) * count - ((lead + start) & (count - 1))
        while present and first < n_classes:
            read_part(x, start, first, width, False, zero, room, 0, count)
            for j in range(count):
                k = first + j
                if k >= 0 and k < width:
                    z = room[j]
                    aim = keep * target[start + k] + half
                    e = exp(-abs(z))
                    own = row_weight * class_weight[k]
                    value += own * ((z if z > zero else zero) - aim * z + log1p(e))
                    room[j] = own * ((one if z >= zero else e) / (one + e) - aim)
            if out.size > 0:
                write_part(out, start, first, n_classes, out_skewed, room, 0, count)
            first += lanes * count
        value = total(value, lanes, shared, 0)
        if thread & (lanes - 1) == 0 and present:
            values[row] = value

    return kernel(body, most_threads)
