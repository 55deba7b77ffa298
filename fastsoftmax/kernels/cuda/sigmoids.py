"""Sigmoids and their cross-entropies, of independent labels: elementwise, without reductions over a row."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from fastsoftmax.kernels.cuda.groups import SHARED, exp, group, log1p
from fastsoftmax.kernels.cuda.packs import FORMATS, read_part, write_part
from fastsoftmax.kernels.cuda.runtime import cuda, kernel

if TYPE_CHECKING:
    from fastsoftmax.kernels.cuda.runtime import Kernel

THREADS = 256


@functools.cache
def sigmoid_kernel(logarithm: bool, form: str) -> Kernel:
    """Return a kernel that writes 1 / (1 + e^(−x)), or its logarithm, of each element.

    Returns
    -------
    kernel
        Its arguments: x and out (size,); size; lead and out_skewed as for `maps.map_kernel`. A thread
        computes one pack.
    """
    real, count = FORMATS[form].real, FORMATS[form].per_pack
    zero, one = real(0), real(1)

    def body(x, out, size, lead, out_skewed):
        workspace = cuda.local.array(count, real)
        first = (cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x) * count - lead
        read_part(x, 0, first, size, False, zero, workspace, 0, count)
        for j in range(count):
            z = workspace[j]
            e = exp(-abs(z))
            if logarithm:
                workspace[j] = (zero if z >= zero else z) - log1p(e)
            else:
                workspace[j] = (one if z >= zero else e) / (one + e)
        write_part(out, 0, first, size, out_skewed, workspace, 0, count)

    return kernel(body, THREADS)


@functools.cache
def sigmoid_loss_kernel(form: str, whole_block: bool, max_threads: int) -> Kernel:
    """Return a kernel that writes each row's sigmoid cross-entropy and its gradient.

    ℓ = Σ wₖ [log(1 + e^zₖ) − tₖ zₖ], ∂ℓ/∂zₖ = wₖ (σ(zₖ) − tₖ), with smoothed targets (1 − ε) t + ε / 2.

    Returns
    -------
    kernel
        A function of these arguments; `real` is the format's type in registers.

        - x (n · K,); target (n · K,) and class_weight (K,), `real`; weight (n,), `real`, or empty for ones;
        - values (n,) float64: receives w ℓ;
        - out (n · K,): receives w ∂ℓ/∂z; may be x, or empty;
        - n_rows, n_classes, lead, out_skewed as for `maps.map_kernel`;
        - bits: the binary logarithm of the threads of a row;
        - keep = 1 − ε, half = ε / 2, `real`.
    """
    real, count = FORMATS[form].real, FORMATS[form].per_pack
    zero, one = real(0), real(1)
    _, total = group(real, whole_block)

    def body(x, target, class_weight, weight, values, out, n_rows, n_classes, lead, out_skewed, bits,
             keep, half):  # fmt: skip
        workspace = cuda.local.array(count, real)
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
            read_part(x, start, first, width, False, zero, workspace, 0, count)
            for j in range(count):
                k = first + j
                if k >= 0 and k < width:
                    z = workspace[j]
                    smoothed_target = keep * target[start + k] + half
                    e = exp(-abs(z))
                    element_weight = row_weight * class_weight[k]
                    value += element_weight * ((z if z > zero else zero) - smoothed_target * z + log1p(e))
                    workspace[j] = element_weight * ((one if z >= zero else e) / (one + e) - smoothed_target)
            if out.size > 0:
                write_part(out, start, first, n_classes, out_skewed, workspace, 0, count)
            first += lanes * count
        value = total(value, lanes, shared, 0)
        if thread & (lanes - 1) == 0 and present:
            values[row] = value

    return kernel(body, max_threads)
