"""L-BFGS turned inside out: a kernel takes minimisations from one value and gradient to the next.

The caller computes values and gradients; between two of them everything, from the line search to the next
trial point, is one call for all minimisations, in memory that is taken once (`solvers.direct`).
"""

from __future__ import annotations

import math

import numpy as np

from fastsoftmax.contracts.minimisations import (
    CODE,
    COEF_SQUARE,
    CURVATURE,
    DECREMENT,
    EVALUATE,
    FAILED,
    GRAD_SQUARE,
    HIGH,
    L2,
    LENGTH,
    LOW,
    MOVED,
    N_PAIRS,
    NEWEST,
    PHASE,
    PROBE,
    PROBED,
    SCALE,
    SLOPE,
    TRIALS,
    VALUE,
)  # fmt: skip
from fastsoftmax.runtime.jit import inner
from fastsoftmax.runtime.jitted import kernel
from fastsoftmax.simd.copies import copy_vector

# The phases of a minimisation: what the caller has just computed.
STARTING, PROBING, SEARCHING = 0, 1, 2
# As in `solvers.lbfgs`.
SUFFICIENT_DECREASE = 1e-4
WOLFE = 0.9
MAX_TRIALS = 12
RESOLUTION = 1e-7
EPS = 2.220446049250313e-16

REASSOCIATED = {"reassoc", "contract"}  # sums in registers: the order is that of the machine code


@inner(fastmath=REASSOCIATED)
def _dot(a, b):
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@inner(fastmath=REASSOCIATED)
def _add(out, factor, a):
    """Add factor · a to out."""
    for i in range(len(out)):
        out[i] += factor * a[i]


@inner(fastmath=REASSOCIATED)
def _penalised(gradient, scale, l2, coef):
    """Replace the gradient by scale · gradient + l2 · coef; return its square and that of coef."""
    square = 0.0
    norm = 0.0
    for i in range(len(gradient)):
        total = scale * gradient[i] + l2 * coef[i]
        gradient[i] = total
        square += total * total
        norm += coef[i] * coef[i]
    return square, norm


@inner(fastmath=REASSOCIATED)
def _precondition(v, mean, inverse, curvature):
    """Replace v by M⁻¹ v, with M diagonal in coefficients and intercepts of rows centred at `mean`.

    A row's logit is W (x − m) + b′ with b′ = b + W m; by those, v is (v_W − v_b mᵀ, v_b).
    """
    n_features = len(mean)
    n_outputs = len(v) // (n_features + 1)
    n_coef = n_outputs * n_features
    for k in range(n_outputs):
        row = v[k * n_features : (k + 1) * n_features]
        h = v[n_coef + k]
        shift = 0.0
        for j in range(n_features):
            step = (row[j] - h * mean[j]) * inverse[j]
            row[j] = step
            shift += step * mean[j]
        v[n_coef + k] = h / curvature - shift


@inner
def _next_direction(count, number, grad, direction, s, y, rho, mean, inverse, work):
    """Write −H ∇F to direction, by the two-loop recursion, and set the slope and the estimate of F − F*."""
    memory = len(s)
    n_pairs, newest = count[N_PAIRS], count[NEWEST]
    alphas = np.empty(memory)
    copy_vector(grad, direction)
    for p in range(n_pairs):
        place = (newest - p) % memory
        alphas[place] = rho[place] * _dot(s[place], direction)
        _add(direction, -alphas[place], y[place])
    _precondition(direction, mean, inverse, number[CURVATURE])
    if n_pairs > 0:
        copy_vector(y[newest], work)
        _precondition(work, mean, inverse, number[CURVATURE])
        gamma = 1.0 / (rho[newest] * _dot(y[newest], work))
        for i in range(len(direction)):
            direction[i] *= gamma
    for p in range(n_pairs - 1, -1, -1):
        place = (newest - p) % memory
        beta = rho[place] * _dot(y[place], direction)
        _add(direction, alphas[place] - beta, s[place])
    for i in range(len(direction)):
        direction[i] = -direction[i]
    number[SLOPE] = _dot(grad, direction)
    number[DECREMENT] = -0.5 * number[SLOPE]


@inner
def _begin_search(count, number, length):
    """Begin a line search with a trial of that length."""
    count[PHASE] = SEARCHING
    count[TRIALS] = 0
    number[LENGTH] = length
    number[LOW], number[LOW + 1], number[LOW + 2] = 0.0, number[VALUE], number[SLOPE]
    number[HIGH], number[HIGH + 1], number[HIGH + 2] = math.inf, math.inf, 0.0


@inner
def _cubic_minimiser(number):
    """Return the minimiser of the cubic through both ends of the interval, kept away from both."""
    low, low_value, low_slope = number[LOW], number[LOW + 1], number[LOW + 2]
    high, high_value, high_slope = number[HIGH], number[HIGH + 1], number[HIGH + 2]
    width = high - low
    if math.isfinite(high_value):
        d1 = low_slope + high_slope - 3.0 * (high_value - low_value) / width
        square = d1 * d1 - low_slope * high_slope
        if square > 0.0:
            d2 = math.copysign(np.sqrt(square), width)
            fraction = 1.0 - (high_slope + d2 - d1) / (high_slope - low_slope + 2.0 * d2)
            return low + min(max(fraction, 0.1), 0.9) * width
    return low + 0.5 * width


@inner
def _search(count, number, value, slope):
    """Take the value and slope at the trial; return 1 to move there, −1 to give up, 0 to try another length.

    The strong Wolfe conditions by bracketing and cubic interpolation, those of `solvers.lbfgs`.
    """
    length, start = number[LENGTH], number[VALUE]
    flat = abs(value - start) <= RESOLUTION * abs(start)
    too_high = value > start + SUFFICIENT_DECREASE * length * number[SLOPE]
    if flat and abs(slope) <= WOLFE * abs(number[SLOPE]):
        return 1  # approximate Wolfe: F no longer resolves the step, its slope does
    if not math.isfinite(value) or too_high or value >= number[LOW + 1] > start:
        number[HIGH], number[HIGH + 1], number[HIGH + 2] = length, value, slope
    elif abs(slope) <= WOLFE * abs(number[SLOPE]):
        return 1
    elif slope > 0.0:
        number[HIGH], number[HIGH + 1], number[HIGH + 2] = length, value, slope
    else:
        number[LOW], number[LOW + 1], number[LOW + 2] = length, value, slope
    count[TRIALS] += 1
    bracketed = math.isfinite(number[HIGH])
    narrow = bracketed and abs(number[HIGH] - number[LOW]) <= 1e-3 * max(number[HIGH], number[LOW])
    if count[TRIALS] >= MAX_TRIALS or narrow:
        return -1
    number[LENGTH] = _cubic_minimiser(number) if bracketed else 4.0 * length
    return 0


@inner
def _move(count, number, value, trial_grad, x, grad, direction, s, y, rho):
    """Move to the trial point, and add the pair of the step unless its curvature is rounding."""
    memory = len(s)
    place = (count[NEWEST] + 1) % memory
    step, change, length = s[place], y[place], number[LENGTH]
    for i in range(len(x)):
        step[i] = length * direction[i]
        change[i] = trial_grad[i] - grad[i]
        x[i] += step[i]
        grad[i] = trial_grad[i]
    number[VALUE] = value
    curvature = _dot(step, change)
    if curvature > EPS * np.sqrt(_dot(step, step) * _dot(change, change)):
        rho[place] = 1.0 / curvature
        count[NEWEST] = place
        count[N_PAIRS] = min(count[N_PAIRS] + 1, memory)


@kernel(
    signatures=["i8:2C,f8:2C,f8:1C,f8:2C,f8:2C,f8:2C,f8:2C,f8:2C,f8:2C,f8:2C,f8:3C,f8:3C,f8:2C,f8:2C,f8:2C"]
)
def advance(
    start, stop, _, counts, numbers, values, coef_sums, intercept_sums, trial_coef, trial_intercept,
    x, grad, direction, s, y, rho, mean, inverse,
):  # fmt: skip
    """Take minimisations start to stop from the sums at their trial points to the next trial points.

    Parameters
    ----------
    counts : array (m, n), int64
        The state of each in whole numbers, by the names in `contracts.minimisations`. `CODE` says what the
        caller has to compute next: EVALUATE, the sums at the trial point; PROBE, the curvature along the
        trial "point", which is the direction; MOVED is EVALUATE after a step, whose point is in `x` and
        `grad`; FAILED: no length was found.
    numbers : array (m, n), float64
        Its state in numbers.
    values, coef_sums, intercept_sums : arrays (m,), (m, K d) and (m, K)
        Σ wᵢ ℓᵢ and its gradient at the trial points; the gradients are overwritten.
    trial_coef, trial_intercept : arrays (m, K d) and (m, K)
        Receive the trial points.
    x, grad, direction : arrays (m, K (d + 1))
        The points, ∇F there, and the directions of the searches.
    s, y, rho : arrays (m, memory, K (d + 1)), twice, and (m, memory)
        The pairs, and the reciprocals of their products.
    mean, inverse : arrays (m, d)
        The preconditioner (`_precondition`).
    """
    n_coef = coef_sums.shape[1]
    trial_grad = np.empty(x.shape[1])
    for i in range(start, stop):
        count, number = counts[i], numbers[i]
        if count[CODE] == FAILED:
            continue
        point, slope_to = x[i], direction[i]
        if count[PHASE] == PROBING:
            # F is quadratic along the direction as far as it is known: the length of its minimum.
            square = _dot(slope_to[:n_coef], slope_to[:n_coef])
            curved = number[CURVATURE] * number[SCALE] * number[PROBED] + number[L2] * square
            length = -number[SLOPE] / curved if curved > 0.0 else 1.0
            _begin_search(count, number, length if math.isfinite(length) else 1.0)
            count[CODE] = EVALUATE
        else:
            scale = number[SCALE]
            square, norm = _penalised(coef_sums[i], scale, number[L2], trial_coef[i])
            copy_vector(coef_sums[i], trial_grad[:n_coef])
            for k in range(intercept_sums.shape[1]):
                trial_grad[n_coef + k] = scale * intercept_sums[i, k]
            value = scale * values[i] + 0.5 * number[L2] * norm
            if count[PHASE] == STARTING:
                copy_vector(trial_grad, grad[i])
                number[VALUE] = value
                outcome = 1
            else:
                outcome = _search(count, number, value, _dot(trial_grad, slope_to))
                if outcome == 1:
                    _move(count, number, value, trial_grad, point, grad[i], slope_to, s[i], y[i], rho[i])
            if outcome == 0:
                count[CODE] = EVALUATE
            elif outcome == -1:
                count[CODE] = FAILED
                continue
            else:
                count[CODE] = MOVED
                number[COEF_SQUARE] = square
                number[GRAD_SQUARE] = _dot(grad[i], grad[i])
                _next_direction(
                    count, number, grad[i], slope_to, s[i], y[i], rho[i], mean[i], inverse[i], trial_grad
                )
                if count[PHASE] == STARTING and number[PROBED] == 0.0:
                    count[PHASE] = PROBING
                    count[CODE] = PROBE
                    copy_vector(slope_to[:n_coef], trial_coef[i])
                    copy_vector(slope_to[n_coef:], trial_intercept[i])
                    continue
                _begin_search(count, number, 1.0)
        length = number[LENGTH]
        for j in range(n_coef):
            trial_coef[i, j] = point[j] + length * slope_to[j]
        for k in range(trial_intercept.shape[1]):
            trial_intercept[i, k] = point[n_coef + k] + length * slope_to[n_coef + k]
