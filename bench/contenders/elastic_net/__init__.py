"""Elastic-net contenders: each fits in a process of its own, by `run.py`, in the environment it needs.

A contender is a file `of_NAME.py` beside it, which is never imported as a part of this package:

points(X, y, options)
    Yields (seconds, coef (K, d), intercept (K,)), nearer to the optimum each time, or (seconds, F).
    `options` holds C, l1_ratio, limit. Seconds are those of the processor, of the fit alone.
"""
