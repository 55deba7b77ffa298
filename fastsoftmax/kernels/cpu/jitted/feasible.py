"""The dual point near known logits whose mean probabilities are the mean targets, in one call."""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.kernels.cpu.jitted.few_classes import softmax_rows
from fastsoftmax.kernels.cpu.sizes import MAX_SHIFT_STEPS, NEGLIGIBLE
from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd.copies import copy_vector
from fastsoftmax.simd.elementwise import sigmoid_to

# A pivot of the curvature below this fraction of the largest is rounding: its class has no curvature.
FLAT = 1e-14


@inner
def _probabilities(exclusive, logits, shift, p):
    """Write the probabilities of logits (n, K) plus a shift (K,) of all rows to p (n, K)."""
    n_rows, n_outputs = logits.shape
    for i in range(n_rows):
        for k in range(n_outputs):
            p[i, k] = logits[i, k] + shift[k]
    if not exclusive:
        sigmoid_to(p.reshape(-1), p.reshape(-1))
    else:
        softmax_rows(p, p, 0, n_rows, False)


@inner(fastmath={"reassoc", "contract"})
def _means(p, weight, mean):
    """Write Σ wᵢ pᵢ to mean (K,)."""
    mean[:] = 0.0
    for i in range(len(weight)):
        w, row = weight[i], p[i]
        if w != 0.0:  # a row of weight zero may hold NaN
            for k in range(len(row)):
                mean[k] += w * row[k]


@inner(fastmath={"reassoc", "contract"})
def _curvature(exclusive, p, weight, out):
    """Write Σ wᵢ ∂pᵢ/∂s of a shift s to the lower triangle of out (K, K)."""
    n_outputs = p.shape[1]
    out[:] = 0.0
    for i in range(len(weight)):
        w, row = weight[i], p[i]
        if w == 0.0:
            continue
        for k in range(n_outputs):
            scaled = w * row[k]
            if exclusive:
                out[k, k] += scaled
                for j in range(k + 1):
                    out[k, j] -= scaled * row[j]
            else:
                out[k, k] += scaled * (1.0 - row[k])


@inner
def _mixture(exclusive, mean, target, q):
    """Write q to q and return θ, minimal with (1 − θ) mean + θ q = target: `LossFamily.feasible_mixture`."""
    theta = 0.0
    for k in range(len(mean)):
        if mean[k] > 0.0:
            theta = max(theta, 1.0 - target[k] / mean[k])
        if not exclusive and mean[k] < 1.0:
            theta = max(theta, 1.0 - (1.0 - target[k]) / (1.0 - mean[k]))
    copy_vector(target, q)
    if not theta > 0.0:
        return 0.0
    total = 0.0
    for k in range(len(mean)):
        q[k] = max(target[k] - (1.0 - theta) * mean[k], 0.0)
        total += q[k]
    if exclusive and not total > 0.0:  # the means differ by rounding only
        copy_vector(target, q)
        return 0.0
    for k in range(len(mean)):
        q[k] = q[k] / total if exclusive else min(q[k] / theta, 1.0)
    return theta


@inner
def _factorise(matrix):
    """Turn the lower triangle of a semidefinite matrix into L D Lᵀ: D on the diagonal, 0 where it is flat."""
    size = len(matrix)
    largest = 0.0
    for k in range(size):
        largest = max(largest, matrix[k, k])
    for k in range(size):
        for j in range(k + 1):
            total = matrix[k, j]
            for i in range(j):
                total -= matrix[k, i] * matrix[j, i] * matrix[i, i]
            if j == k:
                matrix[k, k] = total if total > FLAT * largest else 0.0
            else:
                matrix[k, j] = total / matrix[j, j] if matrix[j, j] > 0.0 else 0.0


@inner
def _subtract_solution(factor, rhs, out):
    """Subtract the solution s of L D Lᵀ s = rhs from out; rhs is overwritten. Flat places of out stay."""
    size = len(rhs)
    for k in range(size):
        for j in range(k):
            rhs[k] -= factor[k, j] * rhs[j]
    for k in range(size - 1, -1, -1):
        rhs[k] = rhs[k] / factor[k, k] if factor[k, k] > 0.0 else 0.0
        for j in range(k + 1, size):
            if factor[k, k] > 0.0:
                rhs[k] -= factor[j, k] * rhs[j]
        out[k] -= rhs[k]


@kernel(signatures=["?,f8:2C,f8:1C,d,f8:1C,f8:1C,f8:1C,f8:1C"])
def feasible(start, stop, part, exclusive, logits, weight, total, target, shift, theta, q):
    """Write a `contracts.Mixture` that meets the dual's condition to shift (K,), theta (1,) and q (K,).

    Parameters
    ----------
    start, stop : int
        Not used: the means are those of all rows.
    exclusive : bool
        Whether a row's probabilities sum to one (softmax); otherwise each is a sigmoid's.
    logits, weight : arrays (n, K) and (n,)
        K is at most `simd.sizes.MAX_CLASSES`.
    total : float
        Σ wᵢ.
    target : array (K,)
        The weighted means of the targets.

    Notes
    -----
    Newton's steps as in `objective.certificate`, with the curvature at the first point. Of a softmax it is
    singular along the vector of ones, by which the last class is left out: its shift stays 0.
    """
    n_outputs = logits.shape[1]
    moving = n_outputs - 1 if exclusive else n_outputs
    mean, excess = np.zeros(n_outputs), np.zeros(n_outputs)
    trial, trial_q = np.zeros(n_outputs), np.zeros(n_outputs)
    factor = np.empty((n_outputs, n_outputs))
    p = np.empty(logits.shape)
    best = math.inf
    for step in range(MAX_SHIFT_STEPS):
        _probabilities(exclusive, logits, trial, p)
        _means(p, weight, mean)
        for k in range(n_outputs):
            mean[k] /= total
        trial_theta = _mixture(exclusive, mean, target, trial_q)
        if not trial_theta < 0.5 * best:
            break  # rounding, or so far from the optimum that Newton's steps do not converge
        best = trial_theta
        theta[0] = trial_theta
        copy_vector(trial, shift)
        copy_vector(trial_q, q)
        if best <= NEGLIGIBLE:
            break
        if step == 0:
            _curvature(exclusive, p, weight, factor)
            _factorise(factor[:moving, :moving])
        for k in range(n_outputs):
            excess[k] = total * (mean[k] - target[k])
        _subtract_solution(factor[:moving, :moving], excess[:moving], trial)
