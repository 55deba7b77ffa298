"""Softmax cross-entropies of rows and their gradients: one read of the logits, one write of the gradient.

With `own` the weight of a row's label, aₖ the weight that smoothing or a target distribution gives class k,
and A = Σ aₖ:

    ℓ = own (lse − z_label) + A lse − Σ aₖ zₖ + ζ lse²
    ∂ℓ/∂zₖ = (own + A + 2 ζ lse) pₖ − aₖ − own [k = label]

An integer label has own = (1 − ε) w_label and aₖ = ε wₖ / K; of probabilities, own = 0 and
aₖ = wₖ ((1 − ε) tₖ + ε / K).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.cuda.groups import SHARED, exp, group, isfinite, log_sum, tanh
from fastsoftmax.kernels.cuda.maps import FIRST, FUSED, SECOND
from fastsoftmax.kernels.cuda.packs import FORMATS, read, read_part, write_part
from fastsoftmax.kernels.cuda.runtime import cuda, inlined, kernel
from fastsoftmax.kernels.cuda.shapes import Limits
from fastsoftmax.kernels.cuda.tallies import tallies, thread_position, write_record

if TYPE_CHECKING:
    from fastsoftmax.kernels.cuda.runtime import Kernel

# Kinds of targets: a label without options, a label with smoothing, z-loss or a cap, or probabilities. The
# first is the usual one, and takes half the registers.
PLAIN, LABEL, SOFT = 0, 1, 2
# By the registers of the compiled kernels: with more packs a thread they spill (of float64 with options, four
# did).
_NARROW = {"float16": Limits(4, 256), "bfloat16": Limits(4, 256)}
LIMITS = {
    PLAIN: dict.fromkeys(FORMATS, Limits(4, 512)),
    LABEL: {"float32": Limits(4, 256), "float64": Limits(2, 512)} | _NARROW,
    SOFT: {"float32": Limits(4, 512), "float64": Limits(2, 512)} | _NARROW,
}


class Pieces(NamedTuple):
    """The device functions that a loss kernel is composed of."""

    capped: Kernel
    class_mass: Kernel
    linear: Kernel
    slopes: Kernel


def _pieces(real: Any, packs: int, count: int, target_kind: int, stage: int) -> Pieces:
    """Return the device functions for packs of `count` elements, `packs` of them a thread."""
    zero, one = real(0), real(1)
    plain, soft = target_kind == PLAIN, target_kind == SOFT

    @inlined
    def capped(workspace, first, step, width, softcap):
        """Replace logits by softcap · tanh(logit / softcap)."""
        for r in range(packs):
            for j in range(count):
                k = first + r * step + j
                if k >= 0 and k < width:
                    workspace[r * count + j] = softcap * tanh(workspace[r * count + j] / softcap)

    @inlined
    def class_mass(target, class_weight, start, k, keep, smoothing):
        """Return aₖ."""
        if soft:
            return class_weight[k] * (keep * target[start + k] + smoothing)
        return class_weight[k] * smoothing

    @inlined
    def linear(workspace, target, class_weight, start, first, step, width, keep, smoothing, shift):
        """Return the thread's Σ aₖ (zₖ − shift) and Σ aₖ; aₖ = 0 adds nothing even if z is −∞."""
        product, mass = zero, zero
        for r in range(packs):
            for j in range(count):
                k = first + r * step + j
                if k >= 0 and k < width:
                    a = class_mass(target, class_weight, start, k, keep, smoothing)
                    mass += a
                    product += a * (workspace[r * count + j] - shift) if a != zero else zero
        return product, mass

    @inlined
    def slopes(workspace, target, class_weight, start, first, step, width, keep, smoothing, softcap,
               shift, factor, label, label_slope, weight):  # fmt: skip
        """Turn the thread's logits (exponentials if plain and fused) into weighted slopes, in place."""
        for r in range(packs):
            place = label - first - r * step
            for j in range(count):
                z = workspace[r * count + j]
                slope = factor * (z if plain and stage == FUSED else exp(z - shift))
                if not plain:
                    k = first + r * step + j
                    if k >= 0 and k < width:
                        slope -= class_mass(target, class_weight, start, k, keep, smoothing)
                if not soft:
                    slope = label_slope if j == place else slope
                if not plain and softcap > zero:
                    t = z / softcap
                    slope *= one - t * t
                workspace[r * count + j] = weight * slope

    return Pieces(capped, class_mass, linear, slopes)


@functools.cache
def loss_kernel(
    target_kind: int, form: str, whole_block: bool, packs: int, stage: int, max_threads: int
) -> Kernel:
    """Return a kernel that writes the softmax cross-entropy of each row and its gradient.

    Parameters
    ----------
    target_kind : {PLAIN, LABEL, SOFT}
    form, whole_block, packs, stage, max_threads
        As for `maps.map_kernel`.

    Returns
    -------
    kernel
        A function of these arguments; `real` is the format's type in registers (float32 or float64).

        - x (n · K,): the logits;
        - target: probabilities (n · K,) `real` if SOFT, else labels (n,) int64;
        - class_weight (K,) `real`; weight (n,) `real`, or empty for ones;
        - values (n,) float64: receives w ℓ;
        - out (n · K,): receives w ∂ℓ/∂x; may be x, or empty;
        - records, n_rows, n_classes, lead, out_skewed, bits, parts: as for `maps.map_kernel`;
        - ignore_index: rows with this label, and rows of weight zero, contribute exact zeros;
        - keep = 1 − ε, smoothing = ε / K, z_loss = ζ, softcap (0 for none), all `real`.
    """
    real, count = FORMATS[form].real, FORMATS[form].per_pack
    size = packs * count
    plain, soft = target_kind == PLAIN, target_kind == SOFT
    zero, one, least = real(0), real(1), real(-np.inf)
    maximum, total = group(real, whole_block)
    tally, join = tallies(real, whole_block)
    place = thread_position(packs, count)
    capped, class_mass, linear, slopes = _pieces(real, packs, count, target_kind, stage)

    def body(x, target, class_weight, weight, values, out, records, n_rows, n_classes, lead, out_skewed,
             bits, parts, ignore_index, keep, smoothing, z_loss, softcap):  # fmt: skip
        workspace = cuda.local.array(size, real)
        shared = cuda.shared.array(SHARED, real)
        lanes = 1 << bits
        row, part, rank, start, first = place(n_classes, lead, bits, parts)
        step = lanes * count
        present = row < n_rows
        counted = present
        row_weight = one
        if weight.size > 0 and present:
            row_weight = weight[row]
            counted = row_weight != zero
        label = -1
        if not soft and counted:
            label = target[row]
            counted = label != ignore_index
        width = n_classes if counted else 0
        for r in range(packs):
            read_part(x, start, first + r * step, width, False, least, workspace, r * count, count)
        # Only the part that holds the label reads the label's logit: another part might read it after it has
        # been overwritten. Within the part, the reductions' barriers come between the reads and the writes.
        has_label = part == 0
        if stage == SECOND and not soft and counted:
            has_label = part == (label + ((lead + start) & (count - 1))) // ((packs * count) << bits)
        true_logit = zero
        if stage != FIRST and not soft and counted and has_label:
            true_logit = read(x, start + label)
        if not plain and softcap > zero:
            true_logit = softcap * tanh(true_logit / softcap)
            capped(workspace, first, step, width, softcap)
        product, mass = zero, zero
        if stage == SECOND:
            shift, ones, others, product, mass = join(records, row * parts, parts, rank, lanes, shared)
        else:
            top = least
            for j in range(size):
                top = workspace[j] if workspace[j] > top else top
            top = maximum(top, lanes, shared, 0)
            shift = zero if stage == FIRST and not isfinite(top) else top
            if not plain:
                product, mass = linear(
                    workspace, target, class_weight, start, first, step, width, keep, smoothing, shift
                )
                product = total(product, lanes, shared, 3)
                mass = total(mass, lanes, shared, 4)
            ones, others = tally(workspace, size, shift, plain and stage == FUSED)
            ones = total(ones, lanes, shared, 1)
            others = total(others, lanes, shared, 2)
            if stage == FIRST:
                if rank == 0 and present:
                    write_record(records, row * parts + part, top, ones, others, product, mass)
                return
        if stage == SECOND and not isfinite(shift):
            others += shift - shift  # NaN, as in one launch
        own, other_sum, e_true = zero, zero, zero
        if not soft and counted:
            own = keep * class_weight[label]
            e_true = exp(true_logit - shift)
            # Σ over the other classes, not total − e: p − 1 of a confident row would lose its digits.
            other_sum = (ones - one) + others if e_true == one else (ones + others) - e_true
        extra = zero
        if not plain or (rank == 0 and has_label):
            log_total = log_sum(ones, others)
            value = own * (log_total - (true_logit - shift)) + (mass * log_total - product)
            if not plain:
                extra = z_loss * (shift + log_total)
                value += extra * (shift + log_total) if extra != zero else zero
                extra += extra
            if rank == 0 and has_label and present:
                values[row] = row_weight * value if counted else zero
        if out.size > 0:
            inverse_total = one / (ones + others)
            label_slope = (mass + extra) * (e_true * inverse_total) - own * (other_sum * inverse_total)
            if not plain and not soft and counted:
                label_slope -= class_mass(target, class_weight, start, label, keep, smoothing)
            slopes(workspace, target, class_weight, start, first, step, width, keep, smoothing, softcap,
                   shift, (own + mass + extra) * inverse_total, label, label_slope, row_weight)  # fmt: skip
            if not counted:
                for j in range(size):
                    workspace[j] = zero
            for r in range(packs):
                at = first + r * step
                write_part(
                    out, start, at, n_classes if present else 0, out_skewed, workspace, r * count, count
                )

    return kernel(body, max_threads)
