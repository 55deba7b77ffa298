"""Law: the multi-label cross-entropy is a sum of independent binary ones, in value and gradient."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import fastsoftmax
from fastsoftmax import devices
from tests import naive
from tests.tolerance import assert_close, eps_of

N, K = 11, 5
REDUCTIONS = ["mean", "sum", "none"]


def problem(dtype=np.float64, n=N, k=K, hard=False):
    rng = np.random.default_rng(4)
    target = rng.random((n, k))
    return (3 * rng.normal(size=(n, k))).astype(dtype), (target > 0.6).astype(int) if hard else target


def draw_options(weights, reduction):
    rng = np.random.default_rng(5)
    options = {"reduction": reduction}
    if "class" in weights:
        options["class_weight"] = rng.uniform(0.2, 3, K)
    if "sample" in weights:
        options["sample_weight"] = np.where(np.arange(N) % 4 == 1, 0.0, rng.uniform(0.2, 3, N))
    return options


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weights", ["", "class", "sample", "class sample"])
@pytest.mark.parametrize("hard", [False, True])
def test_against_the_oracle(hard, weights, reduction, dtype):
    z, target = problem(dtype, hard=hard)
    options = draw_options(weights, reduction)
    value = fastsoftmax.sigmoid_cross_entropy(z, target, **options)
    same, grad = fastsoftmax.sigmoid_cross_entropy_value_and_grad(z, target, **options)
    exact, exact_grad = naive.sigmoid_cross_entropy(z, target, **options)
    assert np.shape(value) == np.shape(exact)
    assert grad.dtype == dtype
    np.testing.assert_array_equal(value, same)
    assert_close(value, exact, dtype=dtype, n_terms=K, scale=10 + np.max(np.abs(exact)))
    assert_close(grad, exact_grad, dtype=dtype, scale=4)


@pytest.mark.parametrize("weights", ["", "class"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_pytorch(dtype, weights):
    torch = pytest.importorskip("torch")
    z, target = problem(dtype)
    options = draw_options(weights, "sum")
    x, t = torch.tensor(z, requires_grad=True), torch.tensor(target.astype(dtype))
    w = torch.tensor(options["class_weight"].astype(dtype)) if weights else None
    value = torch.nn.functional.binary_cross_entropy_with_logits(x, t, weight=w, reduction="sum")
    (grad,) = torch.autograd.grad(value, x)
    ours, our_grad = fastsoftmax.sigmoid_cross_entropy_value_and_grad(z, target, **options)
    assert_close(ours, value.item(), dtype=dtype, n_terms=N * K, scale=abs(value.item()))
    assert_close(our_grad, grad.numpy(), dtype=dtype, scale=4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_logits_keep_their_digits(dtype):
    z = np.array([[1e4, -1e4, 50.0], [-50.0, 0.0, 80.0]], dtype=dtype)
    t = np.array([[1, 0, 1], [0, 1, 0]])
    losses, grad = fastsoftmax.sigmoid_cross_entropy_value_and_grad(z, t, reduction="none")
    exact, exact_grad = naive.sigmoid_cross_entropy(z, t, reduction="none")
    np.testing.assert_allclose(losses, exact, rtol=8 * eps_of(dtype))
    # exp(-50) is far below eps and far above the smallest number: its digits count
    np.testing.assert_allclose(grad, exact_grad, rtol=8 * eps_of(dtype), atol=np.finfo(dtype).tiny)


def test_two_classes_of_softmax_are_one_sigmoid():
    z, target = problem(k=1)
    two, soft = np.hstack([np.zeros_like(z), z]), np.hstack([1 - target, target])
    value, grad = fastsoftmax.sigmoid_cross_entropy_value_and_grad(z, target)
    same, both = fastsoftmax.cross_entropy_value_and_grad(two, soft)
    assert_close(value, same, scale=10)
    assert_close(grad[:, 0], both[:, 1])


def test_one_row_and_no_rows():
    z, target = problem()
    value, grad = fastsoftmax.sigmoid_cross_entropy_value_and_grad(z[0], target[0])
    assert grad.shape == (K,)
    assert_close(value, fastsoftmax.sigmoid_cross_entropy(z[:1], target[:1]))
    for reduction, empty in (("mean", np.nan), ("sum", 0.0), ("none", np.empty(0))):
        value, grad = fastsoftmax.sigmoid_cross_entropy_value_and_grad(z[:0], target[:0], reduction=reduction)
        np.testing.assert_array_equal(value, empty)
        assert grad.shape == (0, K)


def test_in_place():
    z, target = problem()
    value, grad = fastsoftmax.sigmoid_cross_entropy_value_and_grad(z, target)
    again, same = fastsoftmax.sigmoid_cross_entropy_value_and_grad(z, target, out=z)
    assert same is z
    assert again == value
    assert_close(z, grad)


@pytest.mark.parametrize("weights", ["", "class"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "k"), [(1, 3), (700, 3), (4099, 10), (33, 1000), (5, 2049), (30_011, 7)])
def test_rows_taken_together_are_the_rows_alone(n, k, dtype, weights):
    # Rows of few labels go through the kernel as one long row, those left over apart.
    z, target = problem(dtype, n, k)
    options = {"class_weight": np.random.default_rng(6).uniform(0.2, 3, k)} if weights else {}
    alone = fastsoftmax.sigmoid_cross_entropy(z, target, reduction="none", **options)
    ones = np.ones(n)  # weighted rows stay themselves
    _, slopes = fastsoftmax.sigmoid_cross_entropy_value_and_grad(
        z, target, reduction="sum", sample_weight=ones, **options
    )
    total, same = fastsoftmax.sigmoid_cross_entropy_value_and_grad(z, target, reduction="sum", **options)
    np.testing.assert_array_equal(same, slopes)
    # each row's loss is rounded to the dtype, by half an eps
    assert total == pytest.approx(alone.sum(dtype=np.float64), rel=4 * eps_of(dtype))
    fastsoftmax.sigmoid_cross_entropy_value_and_grad(z, target, reduction="sum", out=z, **options)
    np.testing.assert_array_equal(z, slopes)


@pytest.mark.parametrize("put", [-1e-3, 1.001, np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 77_777, 99_999])
def test_a_target_out_of_range_is_found_anywhere(place, put):
    z, target = problem(np.float32, 10_000, 10)
    target.reshape(-1)[place] = put
    before = z.copy()
    with pytest.raises(ValueError, match="target"):
        fastsoftmax.sigmoid_cross_entropy_value_and_grad(z, target, out=z)
    np.testing.assert_array_equal(z, before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_and_their_logarithms(dtype):
    z = np.concatenate([np.linspace(-87, 87, 20_011), np.geomspace(1e-30, 1, 101), [0.0]]).astype(dtype)
    z = np.concatenate([z, -z])
    with mpmath.workdps(naive.DIGITS):
        exact = [1 / (1 + mpmath.exp(-mpmath.mpf(float(v)))) for v in z[::97]]
        logs = [mpmath.log(v) for v in exact]
    for log, expected in ((False, exact), (True, logs)):
        out = np.empty_like(z)
        devices.get("cpu").sigmoid(z, out, log=log)
        np.testing.assert_allclose(out[::97], np.array(expected, dtype=float), rtol=3 * eps_of(dtype))
    special = np.array([np.inf, -np.inf, np.nan], dtype=dtype)
    for log, expected in ((False, [1, 0, np.nan]), (True, [0, -np.inf, np.nan])):
        devices.get("cpu").sigmoid(special, out[:3], log=log)
        np.testing.assert_array_equal(out[:3], expected)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_narrow_targets_are_probabilities_as_well(kind):
    narrow = np.dtype(np.float16) if kind == "float16" else pytest.importorskip("ml_dtypes").bfloat16
    rng = np.random.default_rng(4)
    z, target = rng.normal(size=(31, 5)).astype(narrow), rng.random((31, 5)).astype(narrow)
    value, slopes = fastsoftmax.sigmoid_cross_entropy_value_and_grad(z, target)
    wide, _ = fastsoftmax.sigmoid_cross_entropy_value_and_grad(
        z.astype(np.float32), target.astype(np.float32)
    )
    assert slopes.dtype == z.dtype
    assert value == pytest.approx(wide, rel=1e-6)
