"""Law: a loss is added to the device by one registration; what is not registered is refused by name."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from fastsoftmax import DeviceUnavailable

pytest.importorskip("fastsoftmax.kernels.cuda.runtime", exc_type=DeviceUnavailable)

from fastsoftmax import devices
from fastsoftmax.contracts import Mixture, Params, RowBlock
from fastsoftmax.kernels.cuda import blocks, loss_functions
from fastsoftmax.kernels.cuda.loss_functions import LossOnDevice
from fastsoftmax.kernels.cuda.runtime import arrays
from tests.tolerance import assert_close

N, D, K = 9, 4, 3
WEIGHT = np.where(np.arange(N) == 4, 0.0, np.linspace(0.5, 2.0, N))
rng = np.random.default_rng(0)
X, TARGET = rng.normal(size=(N, D)), rng.poisson(2.0, (N, K)).astype(np.float64)
HERE, ALONG = (Params(rng.normal(size=(K, D)), rng.normal(size=K)) for _ in range(2))
MIXTURE = Mixture(np.zeros(K), 0.25, np.full(K, 0.5))


class Poisson(NamedTuple):
    """ℓ = Σ (e^z − t z), with weights of the outputs: counts. Each output for itself, H = diag(w e^z)."""

    output_weight: Any


class Coupled(NamedTuple):
    """ℓ = ½ (z − t)ᵀ M (z − t): squares, with outputs that know of each other. H = M, symmetric."""

    metric: Any


class Unknown(NamedTuple):
    """A loss with no functions."""


def poisson():
    """The functions of the one, with the device's array functions alone."""

    def losses_of(loss, z, target, *, weight=None, ignore_index=-1, slopes=None):
        own = loss.output_weight
        mean = arrays().exp(z)
        values = weight * ((mean - target * z) * own).sum(axis=1)
        slopes[...] = weight[:, None] * own * (mean - target)
        return values

    def curvature(loss, z, target, weight):
        return weight[:, None] * loss.output_weight * arrays().exp(z)

    def hessp(loss, z, s, target, weight):
        s *= curvature(loss, z, target, weight)
        return s

    def hessian_columns(loss, z, target, weight, pairs):
        own = curvature(loss, z, target, weight)
        return [own[:, k] if k == other else 0 * own[:, k] for k, other in pairs]

    def dual(loss, z, target, theta, q):
        p = (1 - theta) * arrays().exp(z) + theta * q
        return (p * arrays().log(p)).sum(axis=1), p - target

    return LossOnDevice(losses_of, hessp, curvature, hessian_columns, dual)


def coupled():
    """The functions of the other."""

    def losses_of(loss, z, target, *, weight=None, ignore_index=-1, slopes=None):
        away = z - target
        pulled = away @ loss.metric
        values = weight * (0.5 * (away * pulled).sum(axis=1))
        slopes[...] = weight[:, None] * pulled
        return values

    def hessp(loss, z, s, target, weight):
        return weight[:, None] * (s @ loss.metric)

    def curvature(loss, z, target, weight):
        return weight[:, None] * loss.metric.diagonal()

    def hessian_columns(loss, z, target, weight, pairs):
        return [weight * loss.metric[k, other] for k, other in pairs]

    def dual(loss, z, target, theta, q):
        p = (1 - theta) * z + theta * q
        return (p * p).sum(axis=1), p - target

    return LossOnDevice(losses_of, hessp, curvature, hessian_columns, dual)


METRIC = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.25], [0.0, -0.25, 3.0]])
LOSSES = {"poisson": (Poisson(np.array([0.5, 1.0, 2.0])), poisson), "coupled": (Coupled(METRIC), coupled)}


class Formulas:
    """The verbs in NumPy, from the losses' formulas."""

    def __init__(self, loss):
        self.z = X @ HERE.coef.T + HERE.intercept
        if isinstance(loss, Poisson):
            own, mean = loss.output_weight, np.exp(self.z)
            self.losses = ((mean - TARGET * self.z) * own).sum(axis=1)
            self.dlogits = own * (mean - TARGET)
            self.hessian = np.array([np.diag(row) for row in own * mean])
        else:
            away = self.z - TARGET
            self.losses = 0.5 * np.einsum("ik,kl,il->i", away, loss.metric, away)
            self.dlogits = away @ loss.metric
            self.hessian = np.broadcast_to(loss.metric, (N, K, K))
        p = 0.75 * (np.exp(self.z) if isinstance(loss, Poisson) else self.z) + 0.25 * 0.5
        self.entropies = (p * (np.log(p) if isinstance(loss, Poisson) else p)).sum(axis=1)
        self.residuals = p - TARGET

    def back(self, dlogits, rows=X):
        weighted = WEIGHT[:, None] * dlogits
        return weighted.T @ rows, weighted.sum(axis=0)

    def gram(self, pairs):
        joined = np.column_stack((X, np.ones(N)))
        chosen = [(k, other) for k in range(K) for other in range(k + 1) if pairs or k == other]
        curved = [WEIGHT * self.hessian[:, k, other] for k, other in chosen]
        return np.array([(joined * own[:, None]).T @ joined for own in curved])


def assert_sums(sums, coef, intercept, value=0.0):
    for own, known in ((sums.value, value), (sums.coef, coef), (sums.intercept, intercept)):
        assert_close(own, known, n_terms=N * K, scale=max(10.0, np.max(np.abs(known), initial=0.0)))
    assert_close(sums.weight, WEIGHT.sum())


@pytest.fixture(params=LOSSES)
def loss(request, monkeypatch):
    """A loss that this package does not know, once it is registered."""
    found, functions = LOSSES[request.param]
    monkeypatch.setattr(loss_functions, "_LOSSES", dict(loss_functions._LOSSES))
    loss_functions.register(type(found), functions())
    return found


@pytest.fixture(params=[2**27, 4 * 8 * D])  # all rows at once, or four at a time
def _chunked(request, monkeypatch):
    monkeypatch.setattr(blocks, "CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("_chunked")
def test_a_registered_loss_has_every_verb(loss):
    device, formulas = devices.get("cuda"), Formulas(loss)
    block = device.placed(RowBlock(X, TARGET, WEIGHT))
    row_values, X_grad = np.zeros(N), np.zeros((N, D))
    sums = device.loss_grad(loss, HERE, block, row_values=row_values, X_grad=X_grad)
    assert_sums(sums, *formulas.back(formulas.dlogits), WEIGHT @ formulas.losses)
    assert_close(row_values, WEIGHT * formulas.losses, n_terms=K, scale=100.0)
    assert_close(X_grad, WEIGHT[:, None] * formulas.dlogits @ HERE.coef, n_terms=K, scale=100.0)
    s = X @ ALONG.coef.T + ALONG.intercept
    curved = np.einsum("ikl,il->ik", formulas.hessian, s)
    for known in (None, device.logits(HERE, block.X)):
        assert_sums(device.hessp(loss, HERE, ALONG, block, logits=known), *formulas.back(curved))
    own = np.einsum("ikk->ik", formulas.hessian)
    assert_sums(device.diagonal(loss, HERE, block), *formulas.back(own, X**2))
    sums = device.dual(loss, HERE, MIXTURE, block)
    assert_sums(sums, *formulas.back(formulas.residuals), WEIGHT @ formulas.entropies)


@pytest.mark.usefixtures("_chunked")
@pytest.mark.parametrize("pairs", [False, True])
def test_gram_matrices_of_a_registered_loss(pairs, loss):
    block = RowBlock(X, TARGET, WEIGHT)
    sums = devices.get("cuda").gram(loss, HERE, pairs, block)
    assert_sums(sums, Formulas(loss).gram(pairs), np.zeros(0))


@pytest.mark.parametrize("verb", ["loss_grad", "hessp", "diagonal", "gram", "dual", "row_losses"])
def test_an_unknown_loss_is_refused(verb):
    device, block = devices.get("cuda"), RowBlock(X, TARGET, WEIGHT)
    arguments = {
        "loss_grad": (HERE, block),
        "hessp": (HERE, ALONG, block),
        "diagonal": (HERE, block),
        "gram": (None, False, block),
        "dual": (HERE, MIXTURE, block),
        "row_losses": (TARGET, TARGET),
    }[verb]
    with pytest.raises(TypeError, match=r"^device 'cuda' knows no row functions of the loss Unknown$"):
        getattr(device, verb)(Unknown(), *arguments)
