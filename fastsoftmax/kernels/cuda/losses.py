"""Softmax cross-entropies of rows and their gradients: one read of the logits, one write of the gradient.

With aₖ the weight that class k carries in a row's smoothed target, but for the share `own` that stands on its
label alone, and A = Σ aₖ:

    ℓ = own (lse − z_label) + A lse − Σ aₖ zₖ + ζ lse²
    ∂ℓ/∂zₖ = (own + A + 2 ζ lse) pₖ − aₖ − own [k = label]

An integer label has own = (1 − ε) w_label and aₖ = ε wₖ / K; of probabilities, own = 0 and
aₖ = wₖ ((1 − ε) tₖ + ε / K).
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from fastsoftmax.kernels.cuda.groups import SHARED, exp, group, isfinite, log_sum, tanh
from fastsoftmax.kernels.cuda.maps import FIRST, FUSED, SECOND
from fastsoftmax.kernels.cuda.packs import FORMATS, read, read_part, write_part
from fastsoftmax.kernels.cuda.runtime import cuda, inlined, kernel
from fastsoftmax.kernels.cuda.shapes import Room
from fastsoftmax.kernels.cuda.tallies import leave, placing, tallies

# What a target is: an integer label with no option that any class but its own would see, a label with label
# smoothing, z-loss or a cap, or probabilities. The first is the usual one, and takes half the registers.
PLAIN, LABEL, SOFT = 0, 1, 2
_NARROW = {"float16": Room(4, 256), "bfloat16": Room(4, 256)}
ROOM = {
    PLAIN: dict.fromkeys(FORMATS, Room(4, 512)),
    LABEL: {"float32": Room(4, 256), "float64": Room(2, 512)} | _NARROW,
    SOFT: {"float32": Room(4, 512), "float64": Room(2, 512)} | _NARROW,
}


class Pieces(NamedTuple):
    """The device functions that a loss kernel is put together from."""

    capped: Any
    share: Any
    linear: Any
    slopes: Any


def _pieces(real: Any, packs: int, count: int, target_kind: int, stage: int) -> Pieces:
    zero, one = real(0), real(1)
    plain, soft = target_kind == PLAIN, target_kind == SOFT

    @inlined
    def capped(room, first, step, width, softcap):
        """Replace logits by softcap · tanh(logit / softcap)."""
        for r in range(packs):
            for j in range(count):
                k = first + r * step + j
                if k >= 0 and k < width:
                    room[r * count + j] = softcap * tanh(room[r * count + j] / softcap)

    @inlined
    def share(target, class_weight, start, k, keep, smoothing):
        """Return aₖ."""
        if soft:
            return class_weight[k] * (keep * target[start + k] + smoothing)
        return class_weight[k] * smoothing

    @inlined
    def linear(room, target, class_weight, start, first, step, width, keep, smoothing, shift):
        """Return Σ aₖ (zₖ − shift) and Σ aₖ; a class without a share adds nothing even where z is −inf."""
        product, mass = zero, zero
        for r in range(packs):
            for j in range(count):
                k = first + r * step + j
                if k >= 0 and k < width:
                    a = share(target, class_weight, start, k, keep, smoothing)
                    mass += a
                    product += a * (room[r * count + j] - shift) if a != zero else zero
        return product, mass

    @inlined
    def slopes(room, target, class_weight, start, first, step, width, keep, smoothing, softcap,
               shift, factor, label, label_slope, weight):  # fmt: skip
        """Turn logits (or, of plain rows in one launch, their exponentials) into weighted slopes."""
        for r in range(packs):
            place = label - first - r * step
            for j in range(count):
                z = room[r * count + j]
                slope = factor * (z if plain and stage == FUSED else exp(z - shift))
                if not plain:
                    k = first + r * step + j
                    if k >= 0 and k < width:
                        slope -= share(target, class_weight, start, k, keep, smoothing)
                if not soft:
                    slope = label_slope if j == place else slope
                if not plain and softcap > zero:
                    t = z / softcap
                    slope *= one - t * t
                room[r * count + j] = weight * slope

    return Pieces(capped, share, linear, slopes)


@functools.cache
def loss_kernel(
    target_kind: int, form: str, whole_block: bool, packs: int, stage: int, most_threads: int
) -> Any:
    """Return a kernel that writes each row's loss and its gradient.

    Parameters
    ----------
    target_kind : {PLAIN, LABEL, SOFT}
        Of SOFT, targets are probabilities (n · K,) of the type of computing, else labels (n,) int64.
    form, whole_block, packs, stage, most_threads
        As for `maps.map_kernel`.

    Returns
    -------
    kernel
        Its arguments: x (n · K,); target; class_weight (K,); weight (n,) of the rows, or empty; `values` (n,)
        float64, which receives w ℓ; `out` (n · K,), which receives w ∂ℓ/∂x and may be x, or empty; records;
        n; K; `lead`, out_skewed, bits, parts as for `maps.map_kernel`; ignore_index; 1 − ε; ε / K; ζ; the cap
        or 0. A row that is ignored or of weight zero is not looked at.
    """
    real, count = FORMATS[form].real, FORMATS[form].per_pack
    size = packs * count
    plain, soft = target_kind == PLAIN, target_kind == SOFT
    zero, one, least = real(0), real(1), real(-np.inf)
    maximum, total = group(real, whole_block)
    tally, join = tallies(real, whole_block)
    place = placing(packs, count)
    capped, share, linear, slopes = _pieces(real, packs, count, target_kind, stage)

    def body(x, target, class_weight, weight, values, out, records, n_rows, n_classes, lead, out_skewed,
             bits, parts, ignore_index, keep, smoothing, z_loss, softcap):  # fmt: skip
        room = cuda.local.array(size, real)
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
            read_part(x, start, first + r * step, width, False, least, room, r * count, count)
        # Of a row's parts, the one with the label does what takes its logit: another might come to read it
        # when it has been written over. In that part reductions wait for all to have read it.
        mine = part == 0
        if stage == SECOND and not soft and counted:
            mine = part == (label + ((lead + start) & (count - 1))) // ((packs * count) << bits)
        true = zero
        if stage != FIRST and not soft and counted and mine:
            true = read(x, start + label)
        if not plain and softcap > zero:
            true = softcap * tanh(true / softcap)
            capped(room, first, step, width, softcap)
        product, mass = zero, zero
        if stage == SECOND:
            shift, ones, others, product, mass = join(records, row * parts, parts, rank, lanes, shared)
        else:
            top = least
            for j in range(size):
                top = room[j] if room[j] > top else top
            top = maximum(top, lanes, shared, 0)
            shift = zero if stage == FIRST and not isfinite(top) else top
            if not plain:
                product, mass = linear(
                    room, target, class_weight, start, first, step, width, keep, smoothing, shift
                )
                product = total(product, lanes, shared, 3)
                mass = total(mass, lanes, shared, 4)
            ones, others = tally(room, size, shift, plain and stage == FUSED)
            ones = total(ones, lanes, shared, 1)
            others = total(others, lanes, shared, 2)
            if stage == FIRST:
                if rank == 0 and present:
                    leave(records, row * parts + part, top, ones, others, product, mass)
                return
        if stage == SECOND and not isfinite(shift):
            others += shift - shift  # NaN, as in one launch
        own, beside, e_true = zero, zero, zero
        if not soft and counted:
            own = keep * class_weight[label]
            e_true = exp(true - shift)
            # Σ over the other classes, not total − e: p − 1 would lose the digits of a confident row.
            beside = (ones - one) + others if e_true == one else (ones + others) - e_true
        extra = zero
        if not plain or (rank == 0 and mine):
            log_total = log_sum(ones, others)
            value = own * (log_total - (true - shift)) + (mass * log_total - product)
            if not plain:
                extra = z_loss * (shift + log_total)
                value += extra * (shift + log_total) if extra != zero else zero
                extra += extra
            if rank == 0 and mine and present:
                values[row] = row_weight * value if counted else zero
        if out.size > 0:
            share_of_one = one / (ones + others)
            label_slope = (mass + extra) * (e_true * share_of_one) - own * (beside * share_of_one)
            if not plain and not soft and counted:
                label_slope -= share(target, class_weight, start, label, keep, smoothing)
            slopes(room, target, class_weight, start, first, step, width, keep, smoothing, softcap,
                   shift, (own + mass + extra) * share_of_one, label, label_slope, row_weight)  # fmt: skip
            if not counted:
                for j in range(size):
                    room[j] = zero
            for r in range(packs):
                at = first + r * step
                write_part(out, start, at, n_classes if present else 0, out_skewed, room, r * count, count)

    return kernel(body, most_threads)
