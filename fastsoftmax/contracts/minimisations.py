"""The state of minimisations that are advanced by compiled calls: what solvers and kernels agree on."""

from __future__ import annotations

# Places in a row of `counts`, and how many there are.
CODE, PHASE, TRIALS, N_PAIRS, NEWEST, N_COUNTS = range(6)
# What the caller has to do next: the values of `CODE`.
EVALUATE, PROBE, MOVED, FAILED = range(4)
# Places in a row of `numbers`. LOW and HIGH are each followed by a value and a slope.
VALUE, SLOPE, LENGTH, DECREMENT, GRAD_SQUARE, COEF_SQUARE, L2, SCALE, CURVATURE, PROBED = range(10)
LOW, HIGH, N_NUMBERS = 10, 13, 16
