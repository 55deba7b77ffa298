"""Law: cross-entropy is PyTorch's on index and soft targets, with every option, in value and gradient."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import fastsoftmax
from tests import naive
from tests.tolerance import assert_close, eps_of

N, K = 13, 7
REDUCTIONS = ["mean", "sum", "none"]
FLOATS = [np.float32, np.float64]


def draw_logits(n=N, k=K, dtype=np.float64, spread=3.0, seed=0):
    return (spread * np.random.default_rng(seed).normal(size=(n, k))).astype(dtype)


def draw_target(kind, n=N, k=K, ignore_index=-100):
    rng = np.random.default_rng(1)
    if kind == "soft":
        return rng.dirichlet(np.full(k, 0.7), size=n)
    y = rng.integers(0, k, n)
    if kind == "ignored":
        y[rng.random(n) < 0.3] = ignore_index
    return y


def draw_options(weights, smoothing, reduction, n=N, k=K):
    rng = np.random.default_rng(2)
    options = {"label_smoothing": smoothing, "reduction": reduction}
    if "class" in weights:
        options["class_weight"] = rng.uniform(0.2, 3, k)
    if "sample" in weights:
        options["sample_weight"] = np.where(np.arange(n) % 5 == 3, 0.0, rng.uniform(0.2, 3, n))
    return options


def check(logits, target, *, soft, **options):
    """Value, value of the pair and gradient against the oracle; kinds and shapes."""
    dtype = logits.dtype
    value = fastsoftmax.cross_entropy(logits, target, **options)
    same, grad = fastsoftmax.cross_entropy_value_and_grad(logits, target, **options)
    exact, exact_grad = naive.cross_entropy(logits, target, soft=soft, **options)
    size = max(1.0, float(np.nanmax(np.abs(logits), initial=0.0)), np.max(np.abs(exact), initial=0.0))
    n_terms = logits.shape[1]
    # One z·t product a class, each rounded: 8 eps of the largest logit (or loss) per sqrt(K)
    assert np.shape(value) == np.shape(exact)
    assert_close(value, exact, dtype=dtype, n_terms=n_terms, scale=size)
    np.testing.assert_array_equal(value, same)
    assert grad.dtype == dtype
    assert_close(grad, np.reshape(exact_grad, logits.shape), dtype=dtype, n_terms=n_terms, scale=size)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weights", ["", "class", "sample", "class sample"])
@pytest.mark.parametrize("kind", ["index", "ignored", "soft"])
def test_against_the_oracle(kind, weights, smoothing, reduction, dtype):
    options = draw_options(weights, smoothing, reduction)
    check(draw_logits(dtype=dtype), draw_target(kind), soft=kind == "soft", **options)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("z_loss", "softcap"), [(0.01, None), (0.0, 5.0), (0.02, 2.5)])
@pytest.mark.parametrize("weights", ["", "class", "class sample"])
@pytest.mark.parametrize("kind", ["ignored", "soft"])
def test_z_loss_and_softcap_against_the_oracle(kind, weights, z_loss, softcap, reduction, dtype):
    options = draw_options(weights, 0.1, reduction) | {"z_loss": z_loss, "softcap": softcap}
    check(draw_logits(dtype=dtype), draw_target(kind), soft=kind == "soft", **options)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 1), (1001, 3), (65, 33), (2, 1001), (300, 16)])
@pytest.mark.parametrize("kind", ["ignored", "soft"])
def test_shapes(kind, shape):
    check(draw_logits(*shape), draw_target(kind, *shape), soft=kind == "soft", label_smoothing=0.05)


def torch_result(torch, z, target, options):
    """Value and gradient (of the sum for "none") by PyTorch's autograd."""
    options = dict(options)
    weight = options.pop("class_weight", None)
    z = torch.tensor(z, requires_grad=True)
    t = torch.tensor(target, dtype=z.dtype if target.dtype.kind == "f" else torch.int64)
    weight = None if weight is None else torch.tensor(weight, dtype=z.dtype)
    value = torch.nn.functional.cross_entropy(z, t, weight=weight, **options)
    (grad,) = torch.autograd.grad(value.sum(), z)
    return value.detach().numpy(), grad.numpy()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("kind", "weights", "smoothing", "reduction"),
    list(product(["index", "ignored", "soft"], ["", "class"], [0.0, 0.2], REDUCTIONS)),
)
def test_against_pytorch(kind, weights, smoothing, reduction, dtype):
    torch = pytest.importorskip("torch")
    z, target = draw_logits(dtype=dtype), draw_target(kind, ignore_index=3)
    options = draw_options(weights, smoothing, reduction)
    if kind == "ignored":
        options["ignore_index"] = 3
    value, grad = torch_result(torch, z, target, options)
    ours, our_grad = fastsoftmax.cross_entropy_value_and_grad(z, target, **options)
    assert_close(ours, value, dtype=dtype, n_terms=K, scale=10 + abs(value).max())
    assert_close(our_grad, grad, dtype=dtype, n_terms=K, scale=4)
    assert_close(fastsoftmax.cross_entropy(z, target, **options), ours, dtype=dtype, scale=10)


@pytest.mark.parametrize("kind", ["index", "soft"])
@pytest.mark.parametrize(("z_loss", "softcap"), [(0.01, None), (0.0, 5.0), (0.02, 2.5)])
def test_z_loss_and_softcap_against_autograd_of_the_formula(kind, z_loss, softcap):
    torch = pytest.importorskip("torch")
    z, target = draw_logits(), draw_target(kind)
    x = torch.tensor(z, requires_grad=True)
    capped = x if softcap is None else softcap * torch.tanh(x / softcap)
    t = torch.tensor(target)
    value = torch.nn.functional.cross_entropy(capped, t) + z_loss * torch.logsumexp(capped, 1).square().mean()
    (grad,) = torch.autograd.grad(value, x)
    ours, our_grad = fastsoftmax.cross_entropy_value_and_grad(z, target, z_loss=z_loss, softcap=softcap)
    assert_close(ours, value.item(), n_terms=K, scale=10)
    assert_close(our_grad, grad.numpy(), n_terms=K)


@pytest.mark.parametrize("kind", ["index", "ignored"])
@pytest.mark.parametrize("weights", ["", "class"])
def test_one_row_without_a_first_axis(kind, weights):
    torch = pytest.importorskip("torch")
    z, options = draw_logits()[0], draw_options(weights, 0.1, "mean")
    for target in (np.array(4), draw_target("soft")[0]):
        for reduction in REDUCTIONS:
            options["reduction"] = reduction
            value, grad = torch_result(torch, z, target, options)
            ours, our_grad = fastsoftmax.cross_entropy_value_and_grad(z, target, **options)
            assert np.shape(ours) == ()
            assert our_grad.shape == (K,)
            assert_close(ours, value, n_terms=K, scale=10)
            assert_close(our_grad, grad, n_terms=K)
    assert fastsoftmax.cross_entropy(z, 4) == fastsoftmax.cross_entropy(z[None], [4])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["index", "soft"])
def test_no_rows(kind, smoothing):
    z = np.empty((0, K))
    target = np.empty((0, K)) if kind == "soft" else np.empty(0, dtype=np.int64)
    for reduction, empty in (("mean", np.nan), ("sum", 0.0), ("none", np.empty(0))):
        options = {"reduction": reduction, "label_smoothing": smoothing}
        value, grad = fastsoftmax.cross_entropy_value_and_grad(z, target, **options)
        np.testing.assert_array_equal(value, empty)
        np.testing.assert_array_equal(fastsoftmax.cross_entropy(z, target, **options), empty)
        assert grad.shape == (0, K)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_all_ignored_is_nan_with_no_gradient(smoothing):
    z, target = draw_logits(), np.full(N, -100)
    value, grad = fastsoftmax.cross_entropy_value_and_grad(z, target, label_smoothing=smoothing)
    assert np.isnan(value)
    np.testing.assert_array_equal(grad, 0)
    assert fastsoftmax.cross_entropy(z, target, label_smoothing=smoothing, reduction="sum") == 0
    np.testing.assert_array_equal(fastsoftmax.cross_entropy(z, target, reduction="none"), 0)


def test_ignored_rows_are_not_looked_at():
    z, target = draw_logits(), draw_target("ignored")
    expected, expected_grad = fastsoftmax.cross_entropy_value_and_grad(z, target, z_loss=0.1)
    z[target == -100] = np.nan
    value, grad = fastsoftmax.cross_entropy_value_and_grad(z, target, z_loss=0.1)
    assert value == expected
    np.testing.assert_array_equal(grad, expected_grad)


@pytest.mark.parametrize("dtype", FLOATS)
def test_masked_classes(dtype):
    # a logit of -inf removes a class: a probability and a gradient of exactly 0
    z, y = draw_logits(dtype=dtype), draw_target("index")
    keep = np.arange(K) != 2
    y[y == 2] = 3
    z[:, 2] = -np.inf
    value, grad = fastsoftmax.cross_entropy_value_and_grad(z, y)
    less, less_grad = fastsoftmax.cross_entropy_value_and_grad(z[:, keep].copy(), y - (y > 2))
    assert_close(value, less, dtype=dtype)
    assert_close(grad[:, keep], less_grad, dtype=dtype)
    np.testing.assert_array_equal(grad[:, 2], 0)
    y[0] = 2
    assert fastsoftmax.cross_entropy(z, y) == np.inf


def test_nan_logits_give_nan():
    z, y = draw_logits(), draw_target("index")
    z[4, 1] = np.nan
    assert np.isnan(fastsoftmax.cross_entropy(z, y))
    losses, grad = fastsoftmax.cross_entropy_value_and_grad(z, y, reduction="none")
    np.testing.assert_array_equal(np.isnan(losses), np.arange(N) == 4)
    np.testing.assert_array_equal(np.isnan(grad).all(axis=1), np.arange(N) == 4)


@pytest.mark.parametrize("dtype", FLOATS)
def test_large_logits(dtype):
    z = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [-1e4, 1e4, 1e4]], dtype=dtype)
    check(z, np.array([1, 2, 0]), soft=False)
    check(z, np.full((3, 3), 1 / 3), soft=True, label_smoothing=0.3)


@pytest.mark.parametrize("dtype", FLOATS)
def test_small_losses_keep_their_digits(dtype):
    # p of the target nears 1: log(1 + e) must not be lost in 1 - e, nor the gradient in p - 1
    gap = np.linspace(0.5, 12, 24)
    z = np.stack([np.zeros_like(gap), gap], axis=1).astype(dtype)
    losses, grad = fastsoftmax.cross_entropy_value_and_grad(z, np.ones(24, dtype=int), reduction="none")
    exact = np.log1p(np.exp(-z[:, 1].astype(np.float64)))
    # PyTorch's order, (x - max) - log(sum), has an error of eps in the logarithm of a sum that nears 1
    assert_close(losses, exact, dtype=dtype, scale=1, n_eps=2)
    np.testing.assert_allclose(grad[:, 0], -np.expm1(-exact), rtol=8 * eps_of(dtype))


def test_half_and_integers():
    z, y = draw_logits(dtype=np.float16), draw_target("index")
    value, grad = fastsoftmax.cross_entropy_value_and_grad(z, y)
    wide, wide_grad = fastsoftmax.cross_entropy_value_and_grad(z.astype(np.float32), y)
    assert value == pytest.approx(wide, rel=1e-6)
    assert grad.dtype == np.float16
    np.testing.assert_allclose(grad, wide_grad, rtol=eps_of(np.float16), atol=1e-7)
    whole = np.round(draw_logits()).astype(np.int16)
    value, grad = fastsoftmax.cross_entropy_value_and_grad(whole, y)
    assert grad.dtype == np.float64
    assert value == fastsoftmax.cross_entropy(whole.astype(np.float64), y)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64])
def test_kinds_of_index(kind):
    z, y = draw_logits(), draw_target("index")
    assert fastsoftmax.cross_entropy(z, y.astype(kind)) == fastsoftmax.cross_entropy(z, y)
    assert fastsoftmax.cross_entropy(z, y.tolist()) == fastsoftmax.cross_entropy(z, y)


@pytest.mark.parametrize("kind", ["index", "soft"])
def test_out_and_strides(kind):
    z, target = draw_logits(), draw_target(kind)
    value, grad = fastsoftmax.cross_entropy_value_and_grad(z, target)
    out = np.full_like(z, np.nan)
    again, same = fastsoftmax.cross_entropy_value_and_grad(z, target, out=out)
    assert same is out
    place = z.copy()
    assert fastsoftmax.cross_entropy_value_and_grad(place, target, out=place)[1] is place
    wide = np.full((N, 3 * K), 7.0)
    wide[:, ::3] = z
    fastsoftmax.cross_entropy_value_and_grad(wide[:, ::3], target, out=wide[:, ::3])
    for found in (out, place, wide[:, ::3]):
        assert_close(found, grad)
    assert np.all(wide[:, 1::3] == 7)
    turned, read_only = np.asfortranarray(z), z[::-1][::-1]
    read_only.flags.writeable = False
    for view in (turned, read_only):
        assert_close(fastsoftmax.cross_entropy_value_and_grad(view, target)[1], grad)
    assert again == value


@pytest.mark.parametrize("kind", ["index", "soft"])
def test_targets_and_weights_of_any_layout_and_dtype(kind):
    z, target = draw_logits(), draw_target(kind)
    options = draw_options("class sample", 0.1, "mean")
    value, grad = fastsoftmax.cross_entropy_value_and_grad(z, target, **options)
    layouts = [np.repeat(target, 2, axis=0)[::2], np.asfortranarray(target), target[::-1].copy()[::-1]]
    layouts += [target.astype(target.dtype.newbyteorder()), target.tolist()]
    for other in layouts:
        found, same = fastsoftmax.cross_entropy_value_and_grad(z, other, **options)
        assert_close(found, value, scale=10)
        assert_close(same, grad)
    lists = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in options.items()}
    assert_close(fastsoftmax.cross_entropy(z.tolist(), target, **lists), value, scale=10)
    whole = {"class_weight": np.arange(K), "sample_weight": np.arange(N) % 3}
    floats = {k: v.astype(float) for k, v in whole.items()}
    expected = fastsoftmax.cross_entropy(z, target, **floats)
    assert fastsoftmax.cross_entropy(z, target, **whole) == expected


def test_single_logits_with_targets_in_double_stay_single():
    z, soft = draw_logits(dtype=np.float32), draw_target("soft")
    for target in (soft, soft.astype(np.float32)):
        value, grad = fastsoftmax.cross_entropy_value_and_grad(z, target)
        assert grad.dtype == np.float32
        exact, exact_grad = naive.cross_entropy(z, target, soft=True)
        assert_close(value, exact, dtype=np.float32, n_terms=K, scale=10)
        assert_close(grad, exact_grad, dtype=np.float32, n_terms=K)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_are_repeated_rows(reduction):
    z, y = draw_logits(), draw_target("index")
    times = np.arange(N) % 4
    options = {"class_weight": np.linspace(0.5, 2, K), "label_smoothing": 0.1, "z_loss": 0.01}
    weighted = fastsoftmax.cross_entropy(z, y, sample_weight=times, reduction=reduction, **options)
    repeated = fastsoftmax.cross_entropy(
        np.repeat(z, times, 0), np.repeat(y, times), reduction=reduction, **options
    )
    if reduction == "none":
        weighted, repeated = weighted.sum(), repeated.sum()
    assert_close(weighted, repeated, n_terms=N, scale=100)


def test_weight_of_zero_excludes_the_row():
    z, y = draw_logits(), draw_target("index")
    weight = np.ones(N)
    weight[3] = 0
    z[3] = np.nan
    value, grad = fastsoftmax.cross_entropy_value_and_grad(z, y, sample_weight=weight)
    others = np.arange(N) != 3
    assert_close(value, fastsoftmax.cross_entropy(z[others], y[others]))
    np.testing.assert_array_equal(grad[3], 0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_sum_is_taken_in_double(dtype):
    # a float32 running sum of 200003 losses near ln 2 would be off by about 1e-3
    z = np.zeros((200_003, 2), dtype=dtype)
    total = fastsoftmax.cross_entropy(z, np.zeros(200_003, dtype=np.int64), reduction="sum")
    # float32 losses are ln 2 rounded; float64 sums of n terms are off by sqrt(n) eps or so
    tol = eps_of(np.float32) if dtype is np.float32 else np.sqrt(200_003) * eps_of(np.float64)
    assert total == pytest.approx(200_003 * np.log(2), rel=tol)
