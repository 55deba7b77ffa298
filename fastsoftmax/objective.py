"""The regularised objective: sums over rows, normalised, penalised and flattened, once and here.

For rows (xᵢ, yᵢ) with weights wᵢ, coefficients W (K, d) and intercepts b (K,)

    F(W, b) = Σᵢ wᵢ ℓ(W xᵢ + b, yᵢ) / Σᵢ wᵢ  +  (l2 / 2) ‖W‖²        (nats)

The intercept is not penalised. A parameter vector is W in C order followed by b. This is the one place that
divides by Σ wᵢ, adds the penalty, and knows that order.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import devices, validation
from fastsoftmax.contracts import Csr, Params, RowBlock, Sums, Task
from fastsoftmax.losses import sigmoid, softmax
from fastsoftmax.sources.array import ArraySource

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Vector

LOSSES: dict[str, Any] = {"softmax": softmax, "sigmoid": sigmoid}
SPARSE_BLOCK_BYTES = 32 * 2**20


class SoftmaxObjective:
    """F, ∇F and ∇²F v of (multinomial) logistic regression on a data set held in memory.

    F(W, b) = Σᵢ wᵢ ℓᵢ / Σᵢ wᵢ + (l2 / 2) ‖W‖², in nats; the intercept b is not penalised.

    Parameters
    ----------
    X : array_like or SciPy CSR/CSC, (n, d)
        float32, float64, uint8, int8 and int16 are read as they are, in C or F order; other integers and
        booleans are taken as float64.
    y : array_like, (n,) or (n, K)
        Integers in [0, K), or probabilities: rows that sum to one ("softmax"), or independent labels in
        [0, 1] ("sigmoid").
    l2 : float, default 0.0
        The weight of the penalty, at least 0.
    sample_weight : array_like (n,), optional
        Row weights, not negative. A row of weight zero is never looked at.
    n_classes : int, optional
        K; by default one more than the largest label, or the number of columns of y.
    fit_intercept : bool, default True
    label_smoothing : float in [0, 1], default 0.0
        ε: a target t becomes (1 − ε) t + ε / K (with "sigmoid": + ε / 2).
    loss : {"softmax", "sigmoid"}
    device : {"cpu"}
    n_threads : int, optional
        None takes every processor that the process may use.

    Attributes
    ----------
    n_params, n_features, n_classes : int
    passes : int
        How many times X has been read: once for each value and gradient, Hessian-vector product or
        preconditioner.

    Raises
    ------
    ValueError
        Shapes that disagree, NaN or infinity in X, labels out of range; the message names the argument.
    DeviceUnavailable
        If the device cannot be used here.

    Notes
    -----
    Products are float32 for float32 (and narrower) X and float64 otherwise; values, gradients across tiles
    and everything outside the kernels are float64. A value and gradient reads X once and costs 4 n d K flops,
    a Hessian-vector product half as much again; the (n, K) logits are never held for dense X. The bits of a
    result do not depend on `n_threads`. Several threads may call one object at the same time.

    Examples
    --------
    >>> import numpy as np, scipy.optimize
    >>> from fastsoftmax import SoftmaxObjective
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> objective = SoftmaxObjective(X, [0, 1, 2], l2=0.1)
    >>> best = scipy.optimize.minimize(
    ...     objective.value_and_grad, np.zeros(objective.n_params), jac=True,
    ...     hessp=objective.hessp, method="trust-ncg")
    >>> round(float(best.fun), 4)
    0.7074
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        l2: float = 0.0,
        sample_weight: ArrayLike | None = None,
        n_classes: int | None = None,
        fit_intercept: bool = True,
        label_smoothing: float = 0.0,
        loss: str = "softmax",
        device: str = "cpu",
        n_threads: int | None = None,
    ) -> None:
        rows = validation.design_matrix(X)
        target = targets(y, n_classes, loss, rows)
        weight = validation.sample_weights(sample_weight, rows.shape[0])
        if n_classes is None:
            n_classes = int(target.max()) + 1 if target.ndim == 1 else int(target.shape[1])
        self._build(
            RowBlock(rows, target, weight),
            n_classes,
            l2,
            fit_intercept,
            label_smoothing,
            loss,
            device,
            n_threads,
        )

    @classmethod
    def of_rows(
        cls,
        rows: RowBlock,
        n_classes: int,
        *,
        l2: float = 0.0,
        fit_intercept: bool = True,
        label_smoothing: float = 0.0,
        loss: str = "softmax",
        device: str = "cpu",
        n_threads: int | None = None,
    ) -> SoftmaxObjective:
        """Return the objective of rows that have been through `fastsoftmax.validation` already."""
        self = cls.__new__(cls)
        self._build(rows, n_classes, l2, fit_intercept, label_smoothing, loss, device, n_threads)
        return self

    def _build(
        self,
        rows: RowBlock,
        n_classes: int,
        l2: float,
        fit_intercept: bool,
        label_smoothing: float,
        loss: str,
        device: str,
        n_threads: int | None,
    ) -> None:
        if not (np.isfinite(l2) and l2 >= 0.0):
            raise ValueError(f"l2 must be a finite number that is not negative; got {l2!r}")
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1]; got {label_smoothing!r}")
        devices.get(device)
        self.l2 = float(l2)
        self.fit_intercept = bool(fit_intercept)
        self.n_features = int(rows.X.shape[1])
        self.n_classes = int(n_classes)
        self.n_params = self.n_classes * (self.n_features + self.fit_intercept)
        self.passes = 0
        self._family = LOSSES[loss]
        self._loss = self._family.for_targets(rows.target, self.n_classes, label_smoothing=label_smoothing)
        sparse = isinstance(rows.X, Csr)
        self._source = ArraySource(
            *rows,
            device=device,
            n_threads=validation.thread_count(n_threads),
            block_rows=max(1024, SPARSE_BLOCK_BYTES // (8 * self.n_classes)) if sparse else None,
        )

    @property
    def size(self) -> int:
        """The length of a parameter vector; `n_params` under the name that solvers use."""
        return self.n_params

    def pack(self, coef: ArrayLike, intercept: ArrayLike | None = None) -> Vector:
        """Return coef (K, d) and intercept (K,) as one flat float64 vector."""
        coef = np.asarray(coef, dtype=np.float64)
        if coef.shape != (self.n_classes, self.n_features):
            raise ValueError(f"coef must be {(self.n_classes, self.n_features)}; got {coef.shape}")
        if not self.fit_intercept:
            return coef.ravel().copy()
        intercept = np.zeros(self.n_classes) if intercept is None else np.asarray(intercept, dtype=np.float64)
        if intercept.shape != (self.n_classes,):
            raise ValueError(f"intercept must be {(self.n_classes,)}; got {intercept.shape}")
        return np.concatenate((coef.ravel(), intercept))

    def unpack(self, params: ArrayLike, *, name: str = "params") -> Params:
        """Return a flat vector as (coef (K, d), intercept (K,)); without an intercept that part is zero."""
        params = np.asarray(params, dtype=np.float64)
        if params.shape != (self.n_params,):
            raise ValueError(f"{name} must have shape ({self.n_params},); got {params.shape}")
        n_coef = self.n_classes * self.n_features
        intercept = params[n_coef:] if self.fit_intercept else np.zeros(self.n_classes)
        return Params(params[:n_coef].reshape(self.n_classes, self.n_features), intercept)

    def value(self, params: ArrayLike) -> float:
        """Return F in nats. One pass over X."""
        return self.value_and_grad(params)[0]

    def value_and_grad(self, params: ArrayLike) -> tuple[float, Vector]:
        """Return F in nats and ∇F (n_params,). One pass over X."""
        unpacked = self.unpack(params)
        sums = self._sum(Task("loss_grad", self._loss, unpacked))
        value = sums.value / sums.weight + 0.5 * self.l2 * _square(unpacked.coef)
        return value, self._flat(sums, unpacked)

    def hessp(self, params: ArrayLike, direction: ArrayLike) -> Vector:
        """Return ∇²F(params) · direction (n_params,). One pass over X."""
        along = self.unpack(direction, name="direction")
        sums = self._sum(Task("hessp", self._loss, self.unpack(params), (along,)))
        return self._flat(sums, along)

    def diagonal(self, params: ArrayLike) -> Vector:
        """Return the diagonal of ∇²F (n_params,). One pass over X."""
        sums = self._sum(Task("diagonal", self._loss, self.unpack(params)))
        return self._joined(sums.coef / sums.weight + self.l2, sums.intercept / sums.weight)

    def preconditioner(self, params: ArrayLike) -> Callable[[Vector], Vector]:
        """Return v ↦ M⁻¹ v, an approximation of (∇²F)⁻¹ from the diagonal of the Hessian. One pass over X.

        Adding one vector to every class's coefficients changes no softmax probability: along those directions
        the Hessian is l2 · I exactly, and a diagonal taken class by class is far off. With Π the projection
        onto their complement, M⁻¹ = Π D⁻¹ Π + (I − Π) / l2.
        """
        coef, intercept = self.unpack(self.diagonal(params))
        # A column that is zero everywhere has no curvature; neither has a class of probability zero.
        coef = np.maximum(coef, np.finfo(float).eps * coef.max(initial=np.finfo(float).tiny))
        floor = np.finfo(float).eps * intercept.max(initial=np.finfo(float).tiny)
        intercept = np.maximum(intercept, floor) if self.fit_intercept else np.ones(self.n_classes)
        invariant = self._family.SHIFT_INVARIANT

        def apply(vector: Vector) -> Vector:
            rest = self.unpack(vector)
            if not invariant:
                return self._joined(rest.coef / coef, rest.intercept / intercept)
            shift = rest.coef.mean(axis=0)
            inner = (rest.coef - shift) / coef
            inner -= inner.mean(axis=0)
            if self.l2 > 0.0:
                inner += shift / self.l2
            level = (rest.intercept - rest.intercept.mean()) / intercept
            return self._joined(inner, level - level.mean())

        return apply

    def lower_bound(self, params: ArrayLike, value: float, grad: Vector) -> float | None:
        """Return a lower bound of min F, from F and ∇F at `params`; None if l2 = 0.

        Costs one pass over X where there is an intercept, none otherwise. F(params) less this is the duality
        gap: an upper bound of F(params) − min F.

        Notes
        -----
        Write vᵢ = wᵢ / Σ w. As ℓ(z, y) = max over distributions p of p·z − Σ p log p − y·z, for any P

            min F ≥ min over W, b of Σ vᵢ [(pᵢ − yᵢ)·(W xᵢ + b) − Σ pᵢ log pᵢ] + (l2 / 2) ‖W‖²
                  = −Σ vᵢ Σ pᵢ log pᵢ − ‖Σ vᵢ (pᵢ − yᵢ) xᵢᵀ‖² / (2 l2)     if Σ vᵢ (pᵢ − yᵢ) = 0,

        and −∞ otherwise, since b is free (Fenchel's dual [1]_; for sigmoids p log p + (1 − p) log(1 − p)
        takes the place of p log p). The probabilities at `params` meet that condition only where the
        gradient of b is zero. So they are mixed with one distribution for all rows, p̃ᵢ = (1 − θ) pᵢ + θ q,
        with the least θ that makes the weighted mean of p̃ that of y, and one pass sums the right-hand side
        for p̃. θ is of the order of the gradient, and the gap of the order of its square. Without an intercept
        θ = 0, and the bound is F − ‖∇F‖² / (2 l2).

        References
        ----------
        .. [1] M. Collins, A. Globerson, T. Koo, X. Carreras, P. L. Bartlett, "Exponentiated gradient
           algorithms for conditional random fields and max-margin Markov networks", JMLR 9 (2008), sec. 2.
        """
        if self.l2 == 0.0:
            return None
        if not self.fit_intercept:
            return value - _square(grad[np.newaxis]) / (2.0 * self.l2)
        mean_target = self._mean_target
        theta, q = self._family.feasible_mixture(mean_target + self.unpack(grad).intercept, mean_target)
        sums = self._sum(Task("dual", self._loss, self.unpack(params), ((theta, q),)))
        residual = sums.coef / sums.weight
        return -sums.value / sums.weight - _square(residual) / (2.0 * self.l2)

    @functools.cached_property
    def _mean_target(self) -> NDArray[np.float64]:
        parts = self._source.map(
            lambda block: (
                self._family.weighted_target_sum(self._loss, block.target, block.weight),
                block.weight.sum(),
            )
        )
        total = sum(part[0] for part in parts) / sum(part[1] for part in parts)
        mean: NDArray[np.float64] = total
        return mean

    def _sum(self, task: Task) -> Sums:
        self.passes += 1
        return self._source.sum(task)

    def _flat(self, sums: Sums, penalised: Params) -> Vector:
        """Return the sums over Σ w, with l2 times the coefficients added, as one vector."""
        flat = np.empty(self.n_params)
        n_coef = self.n_classes * self.n_features
        coef = flat[:n_coef].reshape(sums.coef.shape)
        np.multiply(penalised.coef, self.l2, out=coef)
        coef += sums.coef / sums.weight
        if self.fit_intercept:
            np.divide(sums.intercept, sums.weight, out=flat[n_coef:])
        return flat

    def _joined(self, coef: NDArray[np.float64], intercept: NDArray[np.float64]) -> Vector:
        return np.concatenate((coef.ravel(), intercept)) if self.fit_intercept else coef.ravel()


def _square(a: NDArray[np.float64]) -> float:
    """Return ‖a‖², not by BLAS: its threads would spin beside ours, and their number decides the bits."""
    return float(np.einsum("kj,kj->", a, a))


def targets(y: Any, n_classes: int | None, loss: str, rows: NDArray[Any] | Csr) -> NDArray[Any]:
    """Return checked targets: int64 (n,), or probabilities (n, K) in the dtype that X's products have."""
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}; got {loss!r}")
    y = np.asarray(y)
    validation.same_rows(rows, y.reshape(-1) if y.ndim == 0 else y)
    if y.ndim == 1 and loss == "softmax":
        return validation.labels(y, n_classes)
    dtype = (rows.data if isinstance(rows, Csr) else rows).dtype
    narrow = dtype.itemsize <= 2 or dtype == np.float32
    return validation.probabilities(
        y, n_classes, np.float32 if narrow else np.float64, rows_sum_to_one=loss == "softmax"
    )
