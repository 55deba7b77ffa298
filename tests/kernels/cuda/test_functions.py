"""Law: functions of arrays on the device mean what those of NumPy arrays mean, and keep the array's kind."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from fastsoftmax import DeviceUnavailable

pytest.importorskip("fastsoftmax.kernels.cuda.runtime", exc_type=DeviceUnavailable)

from fastsoftmax.contracts import CrossEntropyOptions
from fastsoftmax.kernels.cuda import functions
from tests import naive
from tests.tolerance import assert_close

N, K = 5, 7


@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (2, 0, 1), ()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint16])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_along_any_axes(name, dtype, axis, xp, fetched):
    x = (3 * np.random.default_rng(0).normal(size=(2, 3, 4))).astype(np.int8).astype(dtype)
    expected = getattr(scipy.special, name)(x.astype(np.float64), axis=axis)
    result = fetched(functions.along(name, xp.asarray(x), axis))
    assert result.dtype == (dtype if np.issubdtype(dtype, np.floating) else np.float64)
    assert_close(result, expected, dtype=dtype, n_terms=24)


def test_kept_dimensions_and_out(xp, fetched):
    x = np.random.default_rng(1).normal(size=(3, 4))
    for axis in (0, 1, None):
        expected = scipy.special.logsumexp(x, axis=axis, keepdims=True)
        assert_close(fetched(functions.along("logsumexp", xp.asarray(x), axis, keepdims=True)), expected)
    buffer = xp.zeros((3, 4))
    assert functions.along("softmax", xp.asarray(x), 0, buffer) is buffer
    assert_close(fetched(buffer), scipy.special.softmax(x, axis=0))
    with pytest.raises(ValueError, match="out must be"):
        functions.along("softmax", xp.asarray(x), 0, xp.zeros((4, 3)))
    with pytest.raises(TypeError, match="real numbers"):
        functions.along("softmax", xp.asarray(x + 0j), 0)


def test_empty_arrays(xp):
    for shape, axis in (((0, 3), 1), ((3, 0), 0), ((3, 0), 1)):
        assert functions.along("softmax", xp.zeros(shape), axis).shape == shape
    assert functions.along("logsumexp", xp.zeros((0, 3)), 1).shape == (0,)
    with pytest.raises(ValueError, match="at least one element"):
        functions.along("logsumexp", xp.zeros((3, 0)), 1)
    logits, target = xp.zeros((0, 3)), xp.zeros(0, np.int64)
    value, grad = functions.cross_entropy(logits, target, CrossEntropyOptions(), with_grad=True)
    assert np.isnan(float(value))
    assert grad.shape == (0, 3)
    summed = CrossEntropyOptions(reduction="sum")
    assert float(functions.cross_entropy(logits, target, summed, with_grad=True)[0]) == 0.0


def test_bfloat16_stays_bfloat16(xp, fetched):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.random.default_rng(2).normal(size=(3, 9)).astype(ml_dtypes.bfloat16)
    if xp is not np:
        pytest.skip("where the array module has this dtype is the device's matter")
    result = functions.along("softmax", x, 1)
    assert result.dtype == ml_dtypes.bfloat16
    expected = scipy.special.softmax(x.astype(np.float64), axis=1)
    np.testing.assert_allclose(result.astype(np.float64), expected, rtol=2.0**-7)


OPTIONS = {
    "plain": {},
    "ignored": {"ignore_index": 2},
    "weights": {"class_weight": np.linspace(0.5, 2, K), "sample_weight": np.array([1, 0, 2, 0.5, 1.0])},
    "smoothing": {"label_smoothing": 0.1, "class_weight": np.linspace(0.5, 2, K)},
    "z_loss": {"z_loss": 0.02, "sample_weight": np.array([1, 0, 2, 0.5, 1.0])},
    "softcap": {"softcap": 2.5},
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_cross_entropies_are_the_oracles(dtype, soft, options, reduction, xp, fetched):
    rng = np.random.default_rng(3)
    logits = (2 * rng.normal(size=(N, K))).astype(dtype)
    target = rng.dirichlet(np.ones(K), N) if soft else np.array([2, 0, 6, 2, 1])
    own = OPTIONS[options] | {"reduction": reduction}
    chosen = CrossEntropyOptions(**own)
    if soft and "ignore_index" in own:
        pytest.skip("probabilities cannot be ignored")
    expected, expected_grad = naive.cross_entropy(logits, target, soft=soft, **own)
    given = xp.asarray(logits), xp.asarray(target)
    value, grad = functions.cross_entropy(*given, chosen, with_grad=True)
    assert_close(fetched(value), expected, dtype=dtype, n_terms=K, scale=10.0)
    assert grad.dtype == dtype
    assert_close(fetched(grad), expected_grad, dtype=dtype, n_terms=K)
    alone, none = functions.cross_entropy(*given, chosen, with_grad=False)
    assert none is None
    np.testing.assert_array_equal(fetched(alone), fetched(value))


def test_what_is_no_cross_entropy(xp, fetched):
    options = CrossEntropyOptions()
    logits, target = xp.zeros((2, 3)), xp.asarray(np.array([0, 3]))
    with pytest.raises(ValueError, match=r"target must lie in \[0, 3\) or be ignore_index=-100; got 3"):
        functions.cross_entropy(logits, target, options, with_grad=True)
    with pytest.raises(ValueError, match="target must be integers"):
        functions.cross_entropy(logits, xp.zeros(2), options, with_grad=True)
    with pytest.raises(ValueError, match="class_weight must have shape"):
        functions.cross_entropy(logits, target * 0, options._replace(class_weight=np.ones(2)), with_grad=True)
    with pytest.raises(ValueError, match="must be negative with probability"):
        functions.cross_entropy(logits, xp.ones((2, 3)) / 3, options._replace(ignore_index=0), with_grad=True)
    ignored = xp.asarray(np.array([-100, -100]))
    value, grad = functions.cross_entropy(logits, ignored, options, with_grad=True)
    assert np.isnan(float(value))
    assert not fetched(grad).any()


def test_the_gradient_may_take_the_place_of_the_logits(xp, fetched):
    rng = np.random.default_rng(4)
    logits, target = rng.normal(size=(N, K)), rng.integers(0, K, N)
    expected = naive.cross_entropy(logits, target)[1]
    buffer = xp.asarray(logits.copy())
    _, grad = functions.cross_entropy(
        buffer, xp.asarray(target), CrossEntropyOptions(), with_grad=True, out=buffer
    )
    assert grad is buffer
    assert_close(fetched(buffer), expected)
