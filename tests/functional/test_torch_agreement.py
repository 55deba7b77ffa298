"""Law: cross-entropy is PyTorch's for every combination of its options, on both sides of every tile's width.

PyTorch in float64 is the reference, and in float32 the plain version. In float32 ours may err twice as much
as that, and 4 eps (tests/tolerance.py). In float64 nothing better is available: PyTorch's own error is taken
to be as many eps as it is in float32, and is granted once more, since the reference has it. The eps are those
of the largest slope for gradients; for losses, of the loss and of the logits whose differences make it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import fastsoftmax
from tests.tolerance import eps_of

torch = pytest.importorskip("torch")

N = 37
SIZES = [3, 10, 33, 130]
REDUCTIONS = ["mean", "sum", "none"]
FLOATS = [np.float32, np.float64]
KINDS = ["index", "ignored", "another ignored", "soft"]
EXTRAS = [(0.01, None), (0.0, 5.0), (-0.02, 2.5)]


def draw_logits(size, dtype, n=N, spread=3.0):
    return (spread * np.random.default_rng([size, n]).normal(size=(n, size))).astype(dtype)


def draw_target(kind, size, n=N):
    """Targets, and the index that is ignored among them."""
    rng = np.random.default_rng([1, size, n])
    if kind == "soft":
        return rng.dirichlet(np.full(size, 0.7), size=n), -100
    y = rng.integers(0, size, n)
    ignore_index = 1 if kind == "another ignored" else -100
    if kind != "index":
        y[rng.random(n) < 0.3] = ignore_index
        y[0] = ignore_index
        y[n // 2] = size - 1
    return y, ignore_index


def draw_weights(which, size, n=N):
    rng = np.random.default_rng([2, size, n])
    class_weight, sample_weight = rng.uniform(0.2, 3, size), rng.uniform(0.2, 3, n)
    sample_weight[::5] = 0.0
    return class_weight if "class" in which else None, sample_weight if "sample" in which else None


def torchs_function(z, target, options):
    """`torch.nn.functional.cross_entropy`, by its own reduction."""
    return torch.nn.functional.cross_entropy(
        z,
        target,
        weight=tensor(options["class_weight"], z),
        ignore_index=options["ignore_index"],
        label_smoothing=options["label_smoothing"],
        reduction=options["reduction"],
    )


def formula(z, target, options):
    """PyTorch's row losses, weighed, with soft cap and z-loss, reduced by the formula."""
    cap, zeta = options["softcap"], options["z_loss"]
    z = z if cap is None else cap * torch.tanh(z / cap)
    losses = torchs_function(z, target, options | {"reduction": "none"})
    class_weight = tensor(options["class_weight"], z)
    if target.ndim == 2:
        counted = torch.ones_like(losses)
        shares = counted
    else:
        counted = (target != options["ignore_index"]).to(z.dtype)
        known = torch.where(counted.bool(), target, 0)
        shares = counted if class_weight is None else counted * class_weight[known]
    if options["sample_weight"] is not None:
        row_weight = tensor(options["sample_weight"], z)
        losses, counted, shares = losses * row_weight, counted * row_weight, shares * row_weight
    z_losses = zeta * counted * torch.logsumexp(z, 1).square()
    if options["reduction"] == "mean":  # Liger Kernel: the z-loss is averaged over the rows that count
        return losses.sum() / shares.sum() + z_losses.sum() / counted.sum()
    rows = losses + z_losses
    return rows.sum() if options["reduction"] == "sum" else rows


def tensor(array, like):
    return None if array is None else torch.tensor(array, dtype=like.dtype)


def by_autograd(function, logits, target, options, dtype):
    """Value and gradient (of the sum, for "none") of one of the two functions above in a dtype."""
    z = torch.tensor(logits.astype(dtype), requires_grad=True)
    t = torch.tensor(target, dtype=z.dtype if target.ndim == 2 else torch.int64)
    value = function(z, t, options)
    (grad,) = torch.autograd.grad(value.sum(), z)
    return value.detach().numpy(), grad.numpy()


def options_of(kind, weights, smoothing, reduction, size, n=N, z_loss=0.0, softcap=None):
    target, ignore_index = draw_target(kind, size, n)
    class_weight, sample_weight = draw_weights(weights, size, n)
    options = {
        "class_weight": class_weight,
        "ignore_index": ignore_index,
        "label_smoothing": smoothing,
        "reduction": reduction,
        "sample_weight": sample_weight,
        "z_loss": z_loss,
        "softcap": softcap,
    }
    return target, options


class Expected(NamedTuple):
    """Value and gradient in float64, and the error granted to each."""

    value: np.ndarray
    grad: np.ndarray
    granted_value: float
    granted_grad: float


def expected_of(function, logits, target, options):
    dtype = logits.dtype
    value, grad = by_autograd(function, logits, target, options, np.float64)
    single = logits.astype(np.float32)
    right = by_autograd(function, single, target, options, np.float64)
    plain = by_autograd(function, single, target, options, np.float32)
    # a sum of n losses has n roundings of the logits in it, of both signs
    n_rounded = np.sqrt(len(logits)) if options["reduction"] == "sum" else 1
    size = float(np.max(np.abs(logits), where=np.isfinite(logits), initial=0))
    scales = (np.max(np.abs(value)) + n_rounded * size, np.max(np.abs(grad)))
    times = 2 if dtype == np.float32 else 3
    granted = [
        eps_of(dtype) * (times * np.max(np.abs(p - r)) / eps_of(np.float32) + 4 * scale)
        for p, r, scale in zip(plain, right, scales)
    ]
    return Expected(value, grad, *granted)


def assert_within(ours, exact, granted):
    assert np.shape(ours) == np.shape(exact)
    error = np.abs(np.asarray(ours, dtype=np.float64) - exact)
    at = np.unravel_index(np.argmax(error), error.shape)
    assert error[at] <= granted, (
        f"off by {error[at]:.3g} at {at}: {error[at] / granted:.3g} times what is granted"
    )


def check(function, logits, target, options):
    expected = expected_of(function, logits, target, options)
    value, grad = fastsoftmax.cross_entropy_value_and_grad(logits, target, **options)
    assert_within(value, expected.value, expected.granted_value)
    assert grad.dtype == logits.dtype
    assert_within(grad, expected.grad, expected.granted_grad)
    if target.ndim == 1:
        np.testing.assert_array_equal(grad[target == options["ignore_index"]], 0)
    alone = fastsoftmax.cross_entropy(logits, target, **options)
    assert_within(alone, expected.value, expected.granted_value)
    in_place = logits.copy()
    again, same = fastsoftmax.cross_entropy_value_and_grad(in_place, target, out=in_place, **options)
    assert same is in_place
    np.testing.assert_array_equal(again, value)
    np.testing.assert_array_equal(same, grad)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weights", ["", "class"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_all_options_of_pytorch(size, kind, weights, smoothing, reduction, dtype):
    target, options = options_of(kind, weights, smoothing, reduction, size)
    check(torchs_function, draw_logits(size, dtype), target, options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", ["", "class", "sample", "class sample"])
@pytest.mark.parametrize(("z_loss", "softcap"), EXTRAS)
@pytest.mark.parametrize("kind", ["index", "another ignored", "soft"])
@pytest.mark.parametrize("size", SIZES)
def test_options_that_pytorch_lacks(size, kind, z_loss, softcap, weights, smoothing, reduction, dtype):
    target, options = options_of(kind, weights, smoothing, reduction, size, z_loss=z_loss, softcap=softcap)
    check(formula, draw_logits(size, dtype), target, options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 15, 16, 17, 31, 64, 65])
@pytest.mark.parametrize("kind", ["another ignored", "soft"])
@pytest.mark.parametrize("size", SIZES)
def test_any_number_of_rows(size, kind, n, reduction, dtype):
    target, options = options_of(kind, "class", 0.1, reduction, size, n, z_loss=0.01)
    check(formula, draw_logits(size, dtype, n), target, options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kind", ["another ignored", "soft"])
@pytest.mark.parametrize("size", SIZES)
def test_as_many_rows_as_are_shared_among_threads(size, kind, dtype):
    n = 400_003 // size
    for weights in ("", "class sample"):
        target, options = options_of(kind, weights, 0.1, "mean", size, n)
        check(formula, draw_logits(size, dtype, n), target, options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("spread", [1e-3, 1e3, 1e6])
@pytest.mark.parametrize("kind", ["index", "soft"])
@pytest.mark.parametrize("size", SIZES)
def test_small_and_large_logits(size, kind, spread, dtype):
    for reduction in REDUCTIONS:
        target, options = options_of(kind, "class", 0.1, reduction, size)
        check(torchs_function, draw_logits(size, dtype, spread=spread), target, options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", SIZES)
def test_targets_that_are_one_class(size, dtype):
    # probabilities of 0 and 1 are index targets, and a mask of −inf is harmless where the target has no share
    y, options = options_of("index", "class", 0.0, "sum", size)
    z, one_hot = draw_logits(size, dtype), np.eye(size)[y]
    z[np.arange(N), (y + 1) % size] = -np.inf
    with np.errstate(invalid="raise"):
        by_index, by_index_grad = fastsoftmax.cross_entropy_value_and_grad(z, y, **options)
        value, grad = fastsoftmax.cross_entropy_value_and_grad(z, one_hot, **options)
    expected = expected_of(torchs_function, z, y, options)
    for found, slopes in ((by_index, by_index_grad), (value, grad)):
        assert_within(found, expected.value, expected.granted_value)
        assert_within(slopes, expected.grad, expected.granted_grad)
