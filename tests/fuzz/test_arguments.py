"""Law: whatever is handed in, the answer is right or a ValueError or TypeError; the process goes on.

`HYPOTHESIS_PROFILE=nightly python -m pytest tests/fuzz/test_arguments.py` tries 100,000 cases and more;
without it, a fortieth of them. `tests/fuzz/anything.py` draws what is handed in; few dtypes reach kernels, so
that little is compiled.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import fastsoftmax
from fastsoftmax import SoftmaxObjective, SoftmaxRegression
from tests import naive
from tests.fuzz.anything import (
    OTHERS,
    compressed,
    dressed,
    examples,
    is_masked,
    is_plain,
    labels,
    laid_out,
    meaning,
    numbers,
    outcome,
    weights,
)
from tests.tolerance import eps_of

KERNEL_DTYPES = ["f8", "f8", "f4", ">f8", "i8", "g", "O", "U9", "c16", "M8[s]"]
KERNEL_LAYOUTS = ["C", "C", "backwards", "unaligned", "list", "masked", "mask", "read-only"]
CLASSES = [1, 2, 3, 3, 5, 9, 40, 300]


def agree(found, exact, dtype, scale):
    """Fail unless a result is the exact one but for the rounding of sums of that scale."""
    found = np.asarray(found, np.float64)
    with np.errstate(all="ignore"):
        rounded = np.asarray(exact).astype(dtype).astype(np.float64)
        atol = 64 * max(eps_of(dtype), 1e-15) * max(1.0, scale)
    np.testing.assert_allclose(found, rounded, rtol=64 * eps_of(dtype), atol=atol, equal_nan=True)


def an_out(draw, a, dtype):
    """Where to put a result: nowhere, somewhere right, or somewhere wrong; and whether it is right."""
    how = draw(
        st.sampled_from(
            ["none", "none", "new", "same", "shifted", "reversed", "gaps", "wrong", "read", "list"]
        )
    )
    if how == "none" or not isinstance(a, np.ndarray) or a.dtype.kind == "O":
        return None, a, True
    buffer = np.zeros(a.size + 3, dtype)
    new = buffer[: a.size].reshape(a.shape)
    if how == "same":
        return a, a, a.dtype == dtype and a.flags.writeable and not is_masked(a)
    if how == "shifted" and a.dtype == dtype:
        new[...] = a
        return buffer[1 : 1 + a.size].reshape(a.shape), new, True
    if how == "reversed" and a.dtype == dtype and a.ndim:
        new[...] = a
        return new[::-1], new, True
    if how == "gaps":
        return laid_out("gaps", new), a, True
    if how == "wrong":
        return (
            draw(st.sampled_from([np.zeros(a.size + 1, dtype), np.zeros(a.shape, np.int32), "text"])),
            a,
            False,
        )
    if how == "read":
        return laid_out("read-only", new), a, False
    return ([0.0], a, False) if how == "list" else (new, a, True)


@examples(25_000)
@given(st.data(), st.sampled_from(["softmax", "log_softmax", "logsumexp"]))
def test_softmaxes(data, name):
    draw = data.draw
    shape = draw(
        st.sampled_from([(), (0,), (1,), (7,), (3, 0), (0, 3), (4, 5), (70, 3), (2, 3, 4), (3, 70), (3, 300)])
    )
    x = dressed(draw, numbers(draw, shape))
    if draw(st.integers(0, 19)) == 0:
        x = draw(st.sampled_from(OTHERS))
    axis = draw(st.sampled_from([None, 0, -1, 1, 2, 5, (0, 1), (0, 0), (), 1.5, "0", np.int64(0)]))
    options = {"axis": axis}
    dtype = x.dtype.newbyteorder("=") if is_plain(x) and x.dtype.kind == "f" else np.dtype(float)
    right = True
    if name != "logsumexp":
        options["out"], x, right = an_out(draw, x, dtype)
    before = x.copy() if isinstance(x, np.ndarray) else x
    result, refusal = outcome(lambda: getattr(fastsoftmax, name)(x, **options))
    if not is_plain(before) or type(before) is not np.ndarray:
        return  # what SciPy makes of subclasses
    try:
        oracle, cannot = outcome(lambda: getattr(scipy.special, name)(before.astype(np.float64), axis=axis))
    except IndexError as error:  # SciPy's of an axis that an empty array lacks
        cannot = error
    if cannot is not None or not right:
        assert right or refusal is not None or options["out"] is x
        return
    assert refusal is None, refusal
    assert np.shape(result) == np.shape(oracle)
    if before.dtype.kind == "f" and before.dtype.itemsize <= 8:
        finite = np.abs(before.astype(np.float64)[np.isfinite(before)])
        if np.max(finite, initial=0.0) * 2 > np.finfo(dtype).max:
            return  # a difference overflows in one dtype and not in the other
        agree(result, oracle, dtype, 1.0 if name == "softmax" else np.max(finite, initial=0.0))


def right_labels(y, n, k, ignore_index):
    """Index targets as a list, or None if there is something else or wrong in them."""
    if not is_plain(y) or y.dtype.kind not in "iu" or y.shape != (n,):
        return None
    y = [int(each) for each in np.asarray(y)]
    return y if all(0 <= each < k or each == ignore_index for each in y) else None


def right_weights(w, n):
    """Row weights as a list, or None if they are wrong; False if there are none."""
    if w is None:
        return False
    if not is_plain(w) or w.shape != (n,):
        return None
    w = np.asarray(w, np.float64)
    return w.tolist() if np.isfinite(w).all() and (w >= 0).all() else None


@examples(20_000)
@given(st.data(), st.booleans())
def test_cross_entropy(data, with_grad):
    draw = data.draw
    n, k = draw(st.sampled_from([0, 1, 2, 5, 33])), draw(st.sampled_from([0, *CLASSES]))
    k = min(k, 40) if n > 5 else k
    x = dressed(draw, numbers(draw, (n, k)), ["f8", "f8", "f4", "f4", *KERNEL_DTYPES])
    y, w, c = labels(draw, n, k), weights(draw, n), weights(draw, k)
    options = {
        "ignore_index": draw(
            st.sampled_from([-100, -100, -100, 0, 1, -1, True, np.int8(2), 2**70, 1.0, None])
        ),
        "label_smoothing": draw(st.sampled_from([0.0, 0.0, 0.1, 1.0, 2.0, np.nan, "a"])),
        "reduction": draw(st.sampled_from(["mean", "mean", "sum", "none", "all", None])),
        "z_loss": draw(st.sampled_from([0.0, 0.0, 0.1, np.inf, "a"])),
        "softcap": draw(st.sampled_from([None, None, 3.0, 0.0, -1.0, "a"])),
    }
    if draw(st.integers(0, 1)):  # the usual call
        options = {"ignore_index": -100, "reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
    dtype = x.dtype.newbyteorder("=") if is_plain(x) and x.dtype.kind == "f" else np.dtype(float)
    dtype = dtype if dtype.itemsize <= 8 else np.dtype(float)
    out, right = None, True
    if with_grad:
        out, x, right = an_out(draw, x, dtype)
    exact, index = (
        np.array(x, np.float64) if is_plain(x) else None,
        right_labels(y, n, k, options["ignore_index"]),
    )
    rows, per_class = right_weights(w, n), right_weights(c, k)
    call = fastsoftmax.cross_entropy_value_and_grad if with_grad else fastsoftmax.cross_entropy
    extra = {"out": out} if with_grad else {}
    result, refusal = outcome(lambda: call(x, y, sample_weight=w, class_weight=c, **options, **extra))
    usual = len(options) == 2
    if not usual or exact is None or None in (rows, per_class) or k == 0 or index is None:
        return
    assert right or refusal is not None or out is x
    total = sum(rows or [1.0]) * max(per_class or [1.0])
    if refusal is not None:
        by_row, by_class = rows or [1.0] * n, per_class or [1.0] * k
        divisor = sum(by_row[i] * by_class[index[i]] for i in range(n) if index[i] != -100)
        assert not right or not 1e-300 < divisor < 1e300, refusal
        return
    kept = [i for i in range(n) if index[i] != -100 and (not rows or rows[i])]
    if not np.isfinite(exact[kept]).all() or np.abs(exact[kept]).max(initial=0.0) > 1e6 or total > 1e6:
        return
    given_weights = {"sample_weight": rows or None, "class_weight": per_class or None}
    value, grad = naive.cross_entropy(exact, index, reduction=options["reduction"], **given_weights)
    scale = np.abs(exact[kept]).max(initial=1.0) * n * max(1.0, total)
    agree(result[0] if with_grad else result, value, dtype, scale)
    if with_grad:
        agree(result[1], np.reshape(grad, (n, k)), dtype, max(1.0, total))


@examples(12_000)
@given(st.data())
def test_sigmoid_cross_entropy(data):
    draw = data.draw
    n, k = draw(st.sampled_from([0, 1, 2, 5, 33])), draw(st.sampled_from([0, *CLASSES[:-1]]))
    x = dressed(draw, numbers(draw, (n, k)), KERNEL_DTYPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    t = dressed(
        draw,
        rng.choice([0.0, 0.25, 1.0, draw(st.sampled_from([1.0, 1.5, -1.0, np.nan]))], (n, k)),
        ["f8", "f4", "g", "O"],
    )
    if draw(st.integers(0, 9)) == 0:
        t = labels(draw, n, k)
    w, reduction = weights(draw, n), draw(st.sampled_from(["mean", "sum", "none"]))
    out, x, right = an_out(draw, x, np.dtype(float))
    exact = np.array(x, np.float64) if is_plain(x) else None
    rows = right_weights(w, n)
    call = fastsoftmax.sigmoid_cross_entropy_value_and_grad
    result, refusal = outcome(lambda: call(x, t, sample_weight=w, reduction=reduction, out=out))
    good = exact is not None and is_plain(t) and t.shape == (n, k) and rows is not None and k > 0
    if not good or (exact.dtype != x.dtype and out is not None) or x.dtype == np.float32:
        return
    target = np.asarray(t, np.float64)
    if not ((target >= 0) & (target <= 1)).all():
        assert refusal is not None
        return
    total = sum(rows or [1.0])
    if refusal is not None:
        assert not right or not 1e-300 < total < 1e300, refusal
        return
    if not np.isfinite(exact).all() or np.abs(exact).max(initial=0.0) > 1e6 or total > 1e6:
        return
    value, grad = naive.sigmoid_cross_entropy(exact, target, sample_weight=rows or None, reduction=reduction)
    agree(result[0], value, np.float64, np.abs(exact).max(initial=1.0) * n * k * max(1.0, total))
    agree(result[1], np.reshape(grad, (n, k)), np.float64, max(1.0, total))


def rows_of(draw, n, d, dtypes=("f8", "f8", "f8", ">f8", "i8", "g", "O", "U9", "c16")):
    """Rows in any form and, where they are some that must be taken, the matrix that they are."""
    kind = draw(st.sampled_from(["dense", "dense", "compressed", "compressed", "other format", "other"]))
    if kind == "other":
        return draw(st.sampled_from(OTHERS)), None
    if kind == "compressed":
        X = compressed(draw, n, d)
        return X, meaning(X)
    values = numbers(draw, (n, d), special=0.05)
    if kind == "other format":
        X = sp.coo_array(np.nan_to_num(values)).asformat(
            draw(st.sampled_from(["coo", "bsr", "dia", "lil", "dok"]))
        )
        exact = X.toarray() if np.abs(X.toarray()).max(initial=0.0) < 1e6 else None
        if X.format == "coo" and X.nnz and draw(st.booleans()):
            X.coords[draw(st.integers(0, 1))][0] = draw(st.sampled_from([-1, max(n, d), 2**31 - 1]))
            exact = None
        return X, exact
    X = dressed(draw, values, list(dtypes), KERNEL_LAYOUTS)
    fine = is_plain(X) and np.abs(np.asarray(X, np.float64)).max(initial=0.0) < 1e6
    return X, np.asarray(X, np.float64) if fine else None


@examples(15_000)
@given(st.data(), st.booleans())
def test_linear_cross_entropy(data, with_grad):
    draw = data.draw
    n, d, k = (
        draw(st.sampled_from([0, 1, 2, 9])),
        draw(st.sampled_from([0, 1, 3, 8])),
        draw(st.sampled_from([0, 1, 2, 3, 5])),
    )
    X, exact = rows_of(draw, n, d)
    W = dressed(draw, numbers(draw, (k, d), special=0.05), KERNEL_DTYPES)
    b = draw(st.sampled_from([None, "right", "right", "other"]))
    b = (
        dressed(draw, numbers(draw, k, special=0.0))
        if b == "right"
        else draw(st.sampled_from(OTHERS))
        if b
        else b
    )
    y, w = labels(draw, n, k), weights(draw, n)
    reduction = draw(st.sampled_from(["mean", "sum", "none"]))
    name = "linear_cross_entropy" + ("_value_and_grad" if with_grad else "")
    result, refusal = outcome(
        lambda: getattr(fastsoftmax, name)(X, W, y, b, sample_weight=w, reduction=reduction)
    )
    index, rows = right_labels(y, n, k, -100), right_weights(w, n)
    if exact is None and sp.issparse(X):
        assert refusal is not None or X.format not in ("csr", "csc")
    bias = np.zeros(k) if b is None else b
    parts = exact, index, rows
    bias, ragged = (bias, None) if is_masked(bias) else outcome(lambda: np.asarray(bias))
    plain = ragged is None and is_plain(W) and is_plain(bias) and np.shape(bias) == (k,)
    if any(part is None for part in parts) or not plain or is_masked(bias) or 0 in (n, d, k):
        return
    W, bias = np.asarray(W, np.float64), np.asarray(bias, np.float64)
    total = sum(rows or [1.0])
    if refusal is not None:
        assert not 1e-300 < total < 1e300, refusal
        return
    if not (np.abs(W).max() < 1e6 and np.abs(bias).max() < 1e6 and total < 1e6):
        return
    logits = np.array(naive.linear(exact, W, bias))
    value, slopes = naive.cross_entropy(logits, index, sample_weight=rows or None, reduction=reduction)
    scale = n * max(1.0, total) * max(1.0, np.abs(logits).max(), np.abs(exact).max() * np.abs(W).max())
    agree(result[0] if with_grad else result, value, np.float64, scale)
    if with_grad:
        agree(result[1].weight, np.array(slopes).T @ exact, np.float64, scale * max(1.0, np.abs(exact).max()))


@examples(12_000)
@given(st.data(), st.sampled_from(["softmax", "sigmoid"]))
def test_objective(data, loss):
    draw = data.draw
    n, d, k = (
        draw(st.sampled_from([0, 1, 2, 9])),
        draw(st.sampled_from([0, 1, 3, 8])),
        draw(st.sampled_from([1, 2, 3, 5])),
    )
    X, exact = rows_of(draw, n, d)
    y, w = labels(draw, n, k), weights(draw, n)
    l2 = draw(st.sampled_from([0.0, 0.5, 0.5, -1.0, np.nan, "a", 1e-300]))
    made, refusal = outcome(lambda: SoftmaxObjective(X, y, l2=l2, sample_weight=w, n_classes=k, loss=loss))
    if exact is None and sp.issparse(X):
        assert refusal is not None or X.format not in ("csr", "csc")
    index, rows = right_labels(y, n, k, 0), right_weights(w, n)
    must = (
        exact is not None and index is not None and rows is not None and 0 not in (n, d) and loss == "softmax"
    )
    if refusal is not None:
        ordinary = rows is False or (rows is not None and 1e-300 < sum(rows) < 1e300)
        assert not (must and ordinary and l2 in (0.0, 0.5, 1e-300)), refusal
        return
    params = dressed(
        draw, numbers(draw, made.n_params, special=0.0), ["f8", "f8", "f8", "f4", ">f8", "O", "c16", "U9"]
    )
    both, refusal = outcome(lambda: made.value_and_grad(params))
    if refusal is not None:
        assert not is_plain(params), refusal
        return
    if must and is_plain(params):
        coef, intercept = made.unpack(params)
        value, g_coef, g_intercept = naive.objective(
            exact, index, coef, intercept, l2=l2, sample_weight=rows or None
        )
        scale = max(1.0, np.abs(exact).max()) * max(1.0, np.abs(coef).max()) * n
        agree(both[0], value, np.float64, scale * d)
        agree(
            both[1],
            np.concatenate((np.ravel(g_coef), g_intercept)),
            np.float64,
            scale * np.abs(exact).max(initial=1.0),
        )


@examples(6_000)
@given(st.data())
def test_estimator(data):
    draw = data.draw
    n, d, k = (
        draw(st.sampled_from([0, 1, 4, 9])),
        draw(st.sampled_from([0, 1, 3])),
        draw(st.sampled_from([1, 2, 3])),
    )
    X, exact = rows_of(draw, n, d, ("f8", "f8", ">f8", "i8", "O", "U9", "c16"))
    y, w = labels(draw, n, k), weights(draw, n)
    model = SoftmaxRegression(max_iter=3, C=draw(st.sampled_from([1.0, 1.0, 0.01, np.inf])))
    _, refusal = outcome(lambda: model.fit(X, y, sample_weight=w))
    if refusal is not None:
        assert not hasattr(model, "coef_")
        return
    assert exact is not None or not sp.issparse(X) or X.format not in ("csr", "csc")
    assert model.coef_.shape[1] == d
    assert np.isfinite(model.coef_).all()
    proba, refusal = outcome(lambda: model.predict_proba(X))
    assert refusal is None, refusal
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-12)
    if exact is not None:
        logits = np.array(naive.linear(exact, model.coef_, model.intercept_))
        logits = np.concatenate((np.zeros_like(logits), logits), axis=1) if len(model.coef_) == 1 else logits
        right = [naive.softmax(row) for row in logits]
        np.testing.assert_allclose(proba, right, atol=1e-13 * max(1.0, np.abs(logits).max()))
    other, _ = rows_of(draw, n, d)
    found, refusal = outcome(lambda: model.predict(other))
    assert refusal is not None or set(np.ravel(found)) <= set(np.ravel(model.classes_))
