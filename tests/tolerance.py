"""One derived tolerance for all: a fast result may err twice as much as plain NumPy, and a few eps.

|fast - exact| <= 2 |plain - exact| + n_eps · eps · scale, where both errors are the largest of the array (one
element of the plain result can be right by luck) and the scale is the size of what was added up.
"""

from __future__ import annotations

import numpy as np


def eps_of(dtype):
    """Distance from 1 to the next number of a dtype; that of float64 for anything that is not a float."""
    return float(np.finfo(dtype).eps) if np.issubdtype(dtype, np.floating) else float(np.finfo(float).eps)


def allowed(plain, exact, *, dtype=None, n_eps=4, scale=None):
    """Largest error granted to a fast result, from the error of the plain one."""
    plain = np.asarray(plain)
    exact = np.asarray(exact, dtype=np.float64)
    dtype = plain.dtype if dtype is None else dtype
    if scale is None:
        scale = np.max(np.abs(exact), initial=0.0)
    error = np.max(np.abs(plain.astype(np.float64) - exact), initial=0.0)
    return 2 * error + n_eps * eps_of(dtype) * scale


def assert_as_accurate(fast, plain, exact, *, dtype=None, n_eps=4, scale=None):
    """Fail unless a fast result errs at most about twice as much as the plain one."""
    fast, exact = np.asarray(fast), np.asarray(exact, dtype=np.float64)
    assert fast.shape == exact.shape, f"shape {fast.shape}, not {exact.shape}"
    error = np.abs(fast.astype(np.float64) - exact)
    bound = allowed(plain, exact, dtype=dtype, n_eps=n_eps, scale=scale)
    worst = np.max(error, initial=0.0)
    where = np.unravel_index(np.argmax(error), error.shape) if error.size else ()
    assert worst <= bound, f"error {worst:.3g} at {where} where {bound:.3g} is allowed"


def assert_close(fast, exact, *, dtype=np.float64, n_terms=1, scale=None, n_eps=8):
    """Fail unless a result is as near as a sum of `n_terms` rounded terms can be expected to be.

    For where no plain counterpart exists: the error of summing n terms of one size grows as sqrt(n) in
    practice and as n at worst; n_eps·eps·sqrt(n)·scale stands between them.
    """
    fast, exact = np.asarray(fast, dtype=np.float64), np.asarray(exact, dtype=np.float64)
    if scale is None:
        scale = max(1.0, float(np.max(np.abs(exact), initial=0.0)))
    atol = n_eps * eps_of(dtype) * np.sqrt(n_terms) * scale
    assert fast.shape == exact.shape, f"shape {fast.shape}, not {exact.shape}"
    np.testing.assert_allclose(fast, exact, rtol=0, atol=atol)


def ulps(result, exact):
    """Error in units in the last place of the result's dtype; exact comes in a wider one."""
    result = np.asarray(result)
    unit = np.spacing(np.abs(np.asarray(exact)).astype(result.dtype)).astype(np.float64)
    return np.abs(result.astype(np.float64) - np.asarray(exact, dtype=np.float64)) / unit
