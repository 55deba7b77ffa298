"""F at the stored parameters, for columns far from zero, tiny or huge, in every dtype and storage.

A fit either is right, that is F* ≤ F ≤ F* + gap up to rounding, or warns. F* is from Newton's method with the
whole Hessian on standardised columns. Each problem is fitted by one of the solvers, in one of the storages;
with the Hypothesis profile "nightly", by and in every one.
"""

import itertools
import os
import warnings

import numpy as np
import pytest
import scipy.sparse
from scipy.special import log_softmax

from fastsoftmax import SoftmaxRegression

N_ROWS, TOL = 60, 1e-6
EVERYTHING = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
EPS = np.finfo(np.float64).eps
SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky")
STRENGTHS = (1e-4, 1.0, np.inf)
STORAGES = {
    "C order": np.ascontiguousarray,
    "Fortran order": np.asfortranarray,
    "every other row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "CSR": scipy.sparse.csr_matrix,
    "CSC": scipy.sparse.csc_matrix,
}
# (offset of the first column, scale of the second), as far as the dtype holds them.
SHIFTS = (0.0, 1.0, 1e2, 1e3, 1e4, 1e6, 1e8, 1e9, 1e10, 1e12)
GRIDS = {
    "f8": list(itertools.product(SHIFTS, (1e-100, 1e-20, 1.0, 1e20, 1e100))),
    "f4": list(itertools.product(SHIFTS, (1e-30, 1e-10, 1.0, 1e10, 1e30))),
    "f2": list(itertools.product((0.0, 1.0, 1e2, 1e3, 3e4), (1e-2, 1.0, 1e2))),
    "i2": list(itertools.product((0.0, 1e2, 1e3, 3e4), (10.0, 1e3))),
    "u1": list(itertools.product((50.0, 200.0), (2.0, 10.0))),
    "i1": list(itertools.product((0.0, 50.0, 100.0), (2.0, 10.0))),
}


def problem(dtype, offset, scale, n_classes):
    """Return rows and labels; a column is rounded to the dtype before labels are drawn from it."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(N_ROWS, 3))
    unsigned = 20.0 * scale if dtype == "u1" else 0.0
    X = np.column_stack([offset + 4.0 * noise[:, 0], unsigned + scale * noise[:, 1], noise[:, 2]])
    if dtype in ("i2", "u1", "i1"):
        X = np.clip(np.rint(X), np.iinfo(dtype).min, np.iinfo(dtype).max)
    X = X.astype(dtype)
    logits = 0.7 * noise[:, :1] * np.arange(n_classes) + 0.5 * noise[:, 1:2] * np.arange(n_classes)[::-1] ** 2
    return X, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def losses(coef, intercept, X, y):
    """Return the mean loss of parameters (K, d) and (K,) in the precision of X."""
    z = X @ coef.T.astype(X.dtype) + intercept.astype(X.dtype)
    if z.shape[1] == 1:
        z = np.concatenate((np.zeros_like(z), z), axis=1)
    return float(-log_softmax(z, axis=1)[np.arange(len(y)), y].mean())


def minimum(X, y, n_outputs, l2):
    """Return F* in nats, by Newton's method on standardised columns."""
    wide = X.astype(np.longdouble)
    mean, deviation = wide.mean(axis=0), wide.std(axis=0)
    deviation[deviation == 0.0] = 1.0
    Z = np.column_stack([((wide - mean) / deviation).astype(float), np.ones(len(y))])
    penalty = np.tile(np.append(l2 / deviation.astype(float) ** 2, 0.0), n_outputs)
    classes = np.arange(1, 2) if n_outputs == 1 else np.arange(n_outputs)
    target = (y[:, np.newaxis] == classes).astype(float)

    def at(x):
        z = Z @ x.reshape(n_outputs, -1).T
        logits = np.concatenate((np.zeros_like(z), z), axis=1) if n_outputs == 1 else z
        log_p = log_softmax(logits, axis=1)
        p = np.exp(log_p[:, -n_outputs:])
        grad = ((p - target).T @ Z / len(y)).ravel() + penalty * x
        return -log_p[np.arange(len(y)), y].mean() + 0.5 * penalty @ x**2, grad, p

    x = np.zeros(n_outputs * Z.shape[1])
    value, grad, p = at(x)
    for _ in range(100):
        curvature = np.einsum("ik,kl->ikl", p, np.eye(n_outputs)) - np.einsum("ik,il->ikl", p, p)
        hessian = np.einsum("ikl,ij,im->kjlm", curvature, Z, Z).reshape(len(x), len(x)) / len(y)
        hessian += np.diag(penalty)
        scale = 1.0 / np.sqrt(np.maximum(hessian.diagonal(), 1e-30))
        unit = hessian * scale * scale[:, np.newaxis] + 1e-13 * np.eye(len(x))
        step = -scale * np.linalg.solve(unit, scale * grad)
        length = 1.0
        while length > 1e-9 and at(x + length * step)[0] > value + 1e-4 * length * (grad @ step):
            length /= 2.0
        if length <= 1e-9:
            break
        x = x + length * step
        value, grad, p = at(x)
    return value


def problems(solver, dtype):
    """Yield the problems of a solver: at each offset and scale two of six, and each of the six in turn."""
    for place, columns in enumerate(GRIDS[dtype]):
        for (i, C), n_classes in itertools.product(enumerate(STRENGTHS), (2, 3)):
            if EVERYTHING or (place + i + n_classes) % len(SOLVERS) == SOLVERS.index(solver):
                yield columns, C, n_classes


@pytest.mark.parametrize("dtype", GRIDS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_fit_is_right_or_warns(solver, dtype):
    n_problems = 0
    for (offset, scale), C, n_classes in problems(solver, dtype):
        X, y = problem(dtype, offset, scale, n_classes)
        l2 = 0.0 if np.inf == C else 1.0 / (C * N_ROWS)
        n_outputs = 1 if n_classes == 2 else n_classes
        best = minimum(X, y, n_outputs, l2)
        names = [name for name in STORAGES if dtype != "f2" or not name.startswith("CS")]  # no sparse float16
        turn = n_problems % len(names)
        n_problems += 1
        for name in names if EVERYTHING else names[turn : turn + 1]:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                model = SoftmaxRegression(C=C, solver=solver, tol=TOL).fit(STORAGES[name](X), y)
            where = dtype, offset, scale, C, n_classes, name
            coef, intercept = model.coef_.astype(np.longdouble), model.intercept_.astype(np.longdouble)
            penalty = 0.5 * l2 * float((coef**2).sum()) if l2 else 0.0
            found = losses(coef, intercept, X.astype(np.longdouble), y) + penalty
            # A logit is rounded by the largest of its terms, and F changes by no more than the logits do.
            size = np.abs(X.astype(float)) @ np.abs(model.coef_.T.astype(float)) + np.abs(model.intercept_)
            rounding = 8.0 * EPS * float(size.max()) + 1e-12
            assert found >= best - rounding, where
            # The mean over classes, which is subtracted in the end, costs a little penalty.
            assert -rounding <= model.objective_ - found <= 0.1 * TOL * best + rounding, where
            if not caught:
                # Without a penalty the gap is estimated, from the curvature that the steps have met.
                gap = 10.0 * TOL * best if model.duality_gap_ is None else model.duality_gap_
                assert np.inf == C or gap <= TOL * best * (1.0 + 1e-6) + rounding, where
                assert found <= best + gap + rounding, where
    assert n_problems == (6 if EVERYTHING else 2) * len(GRIDS[dtype])
