"""Law: a row kernel of the GPU gives what the oracle's loops give, in every format, shape and alignment."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fastsoftmax import DeviceUnavailable

pytest.importorskip("fastsoftmax.kernels.cuda.runtime", exc_type=DeviceUnavailable)

from fastsoftmax.kernels.cuda import losses, maps, rows, shapes
from fastsoftmax.losses import sigmoid, softmax
from tests import naive
from tests.kernels.cuda.formats import EPS, computed, numbers, stored

# Classes of a part of a warp, of a warp, of several packs a thread, and of a block; odd and even.
SIZES = [1, 2, 7, 10, 33, 140, 1030]


def draw(n, k, form, seed=0):
    """Logits, stored and as numbers."""
    x = stored(3 * np.random.default_rng([seed, k]).normal(size=(n, k)), form)
    return x, numbers(x, form)


def tolerance(form, k, scale):
    """Half a unit of the result, and 8 eps · sqrt(K) of the type that is computed in."""
    return scale * (EPS[form] + 8 * np.finfo(computed(form)).eps * np.sqrt(k))


def assert_near(result, exact, form, k, scale=None):
    exact = np.asarray(exact, dtype=np.float64)
    scale = max(1.0, np.max(np.abs(exact), initial=0.0)) if scale is None else scale
    np.testing.assert_allclose(result, exact, rtol=0, atol=tolerance(form, k, scale))


def mapped(name, x, form, xp, fetched, out=None):
    given = xp.asarray(x)
    out = xp.empty(len(x) if name == "logsumexp" else x.shape, x.dtype) if out is None else out
    rows.write_map(name, given, out)
    return numbers(fetched(out), form)


@pytest.mark.parametrize("k", SIZES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_maps(name, k, form, xp, fetched):
    x, exact_x = draw(3, k, form)
    exact = [getattr(naive, name)(row) for row in exact_x]
    assert_near(mapped(name, x, form, xp, fetched), exact, form, k)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_infinities_and_nan_are_scipys(name, form, xp, fetched):
    scipy_special = pytest.importorskip("scipy.special")
    x, _ = draw(6, 9, form)
    wide = numbers(x, form)
    wide[0, 3] = -np.inf
    wide[1] = -np.inf
    wide[2, 4] = np.inf
    wide[3, 0] = np.nan
    wide[4] = 0.0
    wide[5, :8] = -np.inf
    with np.errstate(all="ignore"):
        exact = getattr(scipy_special, name)(wide, axis=1)
    result = mapped(name, stored(wide, form), form, xp, fetched)
    np.testing.assert_allclose(result, exact, rtol=0, atol=tolerance(form, 9, 30), equal_nan=True)


@pytest.mark.parametrize("skew", [(1, 0), (3, 3), (0, 1)])
def test_arrays_need_not_begin_at_multiples_of_16_bytes(skew, form, xp, fetched):
    n, k = 3, 21
    x, exact_x = draw(n, k, form)
    given = xp.zeros(n * k + 8, x.dtype)[skew[0] : skew[0] + n * k]
    given[:] = xp.asarray(x).reshape(-1)
    out = xp.zeros(n * k + 8, x.dtype)
    result = out[skew[1] : skew[1] + n * k].reshape(n, k)
    rows.write_map("softmax", given.reshape(n, k), result)
    assert_near(numbers(fetched(result), form), [naive.softmax(row) for row in exact_x], form, k)
    beside = np.delete(fetched(out), np.arange(skew[1], skew[1] + n * k))
    assert not beside.any()  # nothing is written before the first row or behind the last one


def test_in_place(form, xp, fetched):
    x, exact_x = draw(3, 21, form)
    given = xp.asarray(x).copy()
    rows.write_map("softmax", given, given)
    assert_near(numbers(fetched(given), form), [naive.softmax(row) for row in exact_x], form, 21)


# Classes of three parts or more, where rows of more than 16 packs are split into parts of 8.
SPLIT = {"float32": 75, "float64": 39, "float16": 150, "bfloat16": 150}


@pytest.fixture
def split_early(monkeypatch):
    """Rows of more than 16 packs are split into parts of 8: what 262,144 classes are, in little."""
    monkeypatch.setattr(shapes, "WARP", 4)
    monkeypatch.setattr(shapes, "SPLIT_LANES", 2)
    limits = dict.fromkeys(EPS, shapes.Limits(4, 4))
    monkeypatch.setattr(maps, "LIMITS", limits)
    monkeypatch.setattr(losses, "LIMITS", dict.fromkeys(losses.LIMITS, limits))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_split_rows(name, form, xp, fetched, simulated, split_early):
    k = SPLIT[form]
    x, _ = draw(4, k, form)
    wide = numbers(x, form)
    wide[1, : k // 2] = -np.inf  # of some parts, nothing is left
    wide[2, 5] = np.nan
    exact = [getattr(naive, name)(row) for row in wide[[0, 1, 3]]]
    result = mapped(name, stored(wide, form), form, xp, fetched)
    assert np.isnan(result[2]).all()
    finite = np.isfinite(exact)
    found = result[[0, 1, 3]]
    assert_near(found[finite], np.asarray(exact)[finite], form, k)
    np.testing.assert_array_equal(found[~finite], np.asarray(exact)[~finite])


def options_of(kind, n, k):
    """Loss, targets for the kernels, and what the oracle is to be told."""
    rng = np.random.default_rng([n, k])
    target = rng.integers(0, k, n)
    class_weight = rng.uniform(0.3, 2.0, k)
    numbers_of = {
        "plain": {},
        "weights": {"class_weight": class_weight},
        "smoothing": {"label_smoothing": 0.1, "class_weight": class_weight},
        "z_loss": {"z_loss": 0.01},
        "softcap": {"softcap": 2.5, "label_smoothing": 0.05},
        "soft": {},
        "soft all": {"label_smoothing": 0.1, "class_weight": class_weight, "z_loss": 0.02, "softcap": 4.0},
    }[kind]
    if kind.startswith("soft") and kind != "softcap":
        target = rng.dirichlet(np.full(k, 0.7), size=n)
    else:
        target[1] = -100
    return target, numbers_of


KINDS = ["plain", "weights", "smoothing", "z_loss", "softcap", "soft", "soft all"]


def check_losses(kind, n, k, form, xp, fetched, in_place=False):
    x, exact_x = draw(n, k, form, seed=1)
    target, numbers_of = options_of(kind, n, k)
    soft = target.ndim == 2
    weight = np.where(np.arange(n) == n - 1, 0.0, np.linspace(0.5, 2.0, n))
    loss = softmax.for_targets(target, k, **numbers_of)
    given = xp.asarray(x).copy()
    slopes = given if in_place else xp.full(x.shape, 7, x.dtype)
    values = rows.losses_of(
        loss, given, xp.asarray(target), weight=xp.asarray(weight), ignore_index=-100, slopes=slopes
    )
    oracle = naive.cross_entropy_rows(exact_x, target, soft=soft, sample_weight=weight, **numbers_of)
    exact = [row[0] + row[1] for row in oracle]
    gradient = np.array([row[2] for row in oracle]) + np.array([row[3] for row in oracle])
    size = max(1.0, np.max(np.abs(exact_x)), np.max(np.abs(exact)))
    real = "float64" if form == "float64" else "float32"
    assert_near(fetched(values), exact, real, k, scale=size)
    assert_near(numbers(fetched(slopes), form), gradient, form, k, scale=max(2.0, np.max(np.abs(gradient))))


@pytest.mark.parametrize("k", [2, 10, 140])
@pytest.mark.parametrize("kind", KINDS)
def test_losses(kind, k, form, xp, fetched):
    check_losses(kind, 4, k, form, xp, fetched)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_over_the_logits(kind, form, xp, fetched):
    check_losses(kind, 3, 21, form, xp, fetched, in_place=True)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_of_a_block(kind, form, xp, fetched):
    check_losses(kind, 2, 1030, form, xp, fetched)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_of_split_rows(kind, form, xp, fetched, simulated, split_early):
    check_losses(kind, 4, SPLIT[form], form, xp, fetched)


@pytest.fixture
def backwards(simulated, monkeypatch):
    """Blocks run last to first: on a GPU their order is not known."""

    class LastFirst:
        def __getattr__(self, name):
            return getattr(np, name)

        def ndindex(self, *shape):
            return reversed(list(np.ndindex(*shape)))

    monkeypatch.setattr(sys.modules["numba.cuda.simulator.kernel"], "np", LastFirst())


@pytest.mark.parametrize("kind", KINDS)
def test_losses_of_split_rows_over_the_logits(kind, form, xp, fetched, split_early, request):
    check_losses(kind, 4, SPLIT[form], form, xp, fetched, in_place=True)
    request.getfixturevalue("backwards")
    check_losses(kind, 4, SPLIT[form], form, xp, fetched, in_place=True)


def test_rows_of_weight_zero_are_not_looked_at(form, xp, fetched):
    x, _ = draw(3, 9, form)
    wide = numbers(x, form)
    wide[1] = np.nan
    loss = softmax.for_targets(np.array([0, 1, 2]), 9)
    slopes = xp.empty(x.shape, x.dtype)
    given = xp.asarray(stored(wide, form))
    weight = xp.asarray(np.array([1.0, 0.0, 1.0]))
    values = fetched(
        rows.losses_of(loss, given, xp.asarray(np.array([0, 99, 2])), weight=weight, slopes=slopes)
    )
    assert values[1] == 0.0
    assert np.isfinite(values).all()
    assert not numbers(fetched(slopes), form)[1].any()


def test_a_masked_class_has_no_slope(form, xp, fetched):
    x, _ = draw(2, 9, form)
    wide = numbers(x, form)
    wide[:, 4] = -np.inf
    slopes = xp.empty(x.shape, x.dtype)
    loss = softmax.for_targets(np.array([0, 1]), 9)
    target = xp.asarray(np.array([0, 1]))
    values = fetched(rows.losses_of(loss, xp.asarray(stored(wide, form)), target, slopes=slopes))
    assert np.isfinite(values).all()
    assert (numbers(fetched(slopes), form)[:, 4] == 0.0).all()


def test_the_true_slope_of_a_confident_row_keeps_its_digits(xp, fetched):
    x = np.zeros((1, 5), np.float32)
    x[0, 2] = 40.0
    slopes = xp.empty(x.shape, x.dtype)
    loss = softmax.for_targets(np.array([2]), 5)
    values = fetched(rows.losses_of(loss, xp.asarray(x), xp.asarray(np.array([2])), slopes=slopes))
    np.testing.assert_allclose(values, [4 * np.exp(-40.0)], rtol=1e-6)
    np.testing.assert_allclose(fetched(slopes)[0, 2], -4 * np.exp(-40.0), rtol=1e-6)


@pytest.mark.parametrize("k", [1, 3, 37, 300])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_sigmoid_losses(smoothing, k, form, xp, fetched):
    n = 3
    x, exact_x = draw(n, k, form, seed=2)
    rng = np.random.default_rng(k)
    target, class_weight = rng.random((n, k)).astype(computed(form)), rng.uniform(0.3, 2.0, k)
    weight = np.array([0.5, 0.0, 2.0])
    loss = sigmoid.for_targets(target, k, class_weight=class_weight, label_smoothing=smoothing)
    slopes = xp.full(x.shape, 7, x.dtype)
    given, aims, own = xp.asarray(x), xp.asarray(target), xp.asarray(weight)
    values = rows.losses_of(loss, given, aims, weight=own, slopes=slopes)
    aim = (1 - smoothing) * target.astype(np.float64) + smoothing / 2
    exact, gradient = naive.sigmoid_cross_entropy(
        exact_x, aim, class_weight=class_weight, sample_weight=weight, reduction="none"
    )
    real = "float64" if form == "float64" else "float32"
    assert_near(fetched(values), exact, real, k, scale=max(3.0, np.max(exact)))
    assert_near(numbers(fetched(slopes), form), gradient, form, k, scale=4.0)


@pytest.mark.parametrize("log", [False, True])
def test_sigmoids(log, form, xp, fetched):
    x = stored(np.array([0.0, -3.5, 4.25, -40.0, 40.0, -np.inf, np.inf, np.nan, 1.0]), form)
    out = xp.empty(x.shape, x.dtype)
    rows.write_sigmoid(xp.asarray(x), out, log)
    wide = numbers(x, form)
    with np.errstate(all="ignore"):
        exact = np.minimum(wide, 0) - np.log1p(np.exp(-np.abs(wide))) if log else 1 / (1 + np.exp(-wide))
    result = numbers(fetched(out), form)
    rounding = EPS[form] / 2 + 4 * np.finfo(computed(form)).eps
    least = 2.0**-24 if form == "float16" else 0.0  # of subnormal numbers, the distance
    np.testing.assert_allclose(result, exact, rtol=rounding, atol=least)


def test_sums_are_the_same_to_the_bit(xp, fetched):
    values = np.random.default_rng(0).normal(size=3001)
    given = xp.asarray(values)
    sums = [float(fetched(rows.total(given))) for _ in range(2)]
    assert sums[0] == sums[1]
    np.testing.assert_allclose(sums[0], values.sum(), atol=1e-12)
