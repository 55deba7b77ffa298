"""Law: kernels stay within their arrays, and mean as plain Python what they mean compiled.

A handful of them on small inputs, once with Numba's bounds checks and once with no compiler at all; in
processes of their own, as Numba reads both switches when it is imported.
"""

from __future__ import annotations

import pytest

from tests.interpreter import ROOT, run_python

CODE = """
    import sys
    import numpy as np
    import scipy.sparse as sp
    import fastsoftmax
    from fastsoftmax import SoftmaxObjective, SoftmaxRegression
    from fastsoftmax.runtime.jit import jit
    from tests import naive

    @jit
    def beyond(a):
        return a[len(a)]

    try:
        beyond(np.zeros(3))
    except IndexError:
        print("checked", end=" ")

    fastsoftmax.set_executor("inline")
    rng = np.random.default_rng(0)
    near = dict(rtol=1e-12, atol=1e-12)

    def linear(X, n_classes):
        dense = X if isinstance(X, np.ndarray) else X.toarray()
        y, w = rng.integers(0, n_classes, len(dense)), rng.integers(0, 3, len(dense)) + 0.5
        objective = SoftmaxObjective(X, y, l2=0.1, sample_weight=w, n_classes=n_classes)
        x, v = rng.normal(size=(2, objective.n_params))
        at, along = objective.unpack(x), objective.unpack(v)
        value, grad = objective.value_and_grad(x)
        right = naive.objective(dense, y, *at, l2=0.1, sample_weight=w)
        np.testing.assert_allclose(value, right[0], **near)
        np.testing.assert_allclose(grad, np.append(right[1], right[2]), **near)
        curved = naive.hessp(dense, *at, *along, l2=0.1, sample_weight=w)
        np.testing.assert_allclose(objective.hessp(x, v), np.append(*curved), **near)

    def rows(n, k):
        z = 3 * rng.normal(size=(n, k))
        y = rng.integers(0, k, n)
        np.testing.assert_allclose(fastsoftmax.softmax(z, axis=1), [naive.softmax(row) for row in z], **near)
        np.testing.assert_allclose(fastsoftmax.logsumexp(z, axis=1), [naive.logsumexp(r) for r in z], **near)
        value, grad = fastsoftmax.cross_entropy_value_and_grad(z, y, label_smoothing=0.1)
        right, slopes = naive.cross_entropy(z, y, label_smoothing=0.1)
        np.testing.assert_allclose(value, right, **near)
        np.testing.assert_allclose(grad, slopes, **near)

    X = np.where(rng.random((19, 5)) < 0.4, 0, rng.normal(size=(19, 5)))
    for case in sys.argv[1:]:
        if case == "dense":
            for n_classes in (2, 3, 11):
                linear(X, n_classes)
        elif case == "sparse":
            linear(sp.csr_array(X), 3)
            linear(sp.csc_array(X), 3)
        else:
            rows(3, 7)
            rows(2, 300)
    print("right")
"""


def test_with_bounds_checks():
    status, out, err = run_python(CODE, "sparse", "rows", cwd=ROOT, NUMBA_BOUNDSCHECK="1", timeout=600)
    assert (status, out) == (0, "checked right"), err


@pytest.mark.parametrize("case", ["dense", "sparse", "rows"])
def test_as_plain_python(case):
    status, out, err = run_python(CODE, case, cwd=ROOT, NUMBA_DISABLE_JIT="1")
    assert (status, out) == (0, "checked right"), err
