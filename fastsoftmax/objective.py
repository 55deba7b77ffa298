"""The regularised objective: sums over rows, normalised, penalised and flattened, once and here.

For rows (xᵢ, yᵢ) with weights wᵢ, coefficients W (K, d) and intercepts b (K,)

    F(W, b) = Σᵢ wᵢ ℓ(W xᵢ + b, yᵢ) / Σᵢ wᵢ  +  (l2 / 2) ‖W‖²        (nats)

The intercept is not penalised. A parameter vector is W in C order followed by b. This is the one place that
divides by Σ wᵢ, adds the penalty, and knows that order.
"""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax import devices, validation
from fastsoftmax.algebra import Algebra
from fastsoftmax.certificate import Certified
from fastsoftmax.contracts import Csr, Params, RowBlock, Sums, Task
from fastsoftmax.curvature import products_at
from fastsoftmax.losses import sigmoid, softmax
from fastsoftmax.memory import Memory
from fastsoftmax.preconditioned import Preconditioned, Shared
from fastsoftmax.sources.array import ArraySource, sparse_block_rows
from fastsoftmax.visiting import Visiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Vector
    from fastsoftmax.protocols import Source

LOSSES = dict(zip(validation.LOSSES, (softmax, sigmoid), strict=True))
# Logits that are kept take so much room, or that of so many parameter vectors: fewer than a solver holds.
LOGITS_BYTES, LOGITS_VECTORS = 3 * 2**24, 16


class SoftmaxObjective(Preconditioned, Certified, Visiting):
    """F, ∇F and ∇²F v of (multinomial) logistic regression on a data set held in memory.

    F(W, b) = Σᵢ wᵢ ℓᵢ / Σᵢ wᵢ + (l2 / 2) ‖W‖², in nats; the intercept b is not penalised.

    Parameters
    ----------
    X : array_like or SciPy CSR/CSC, (n, d), or an array on a GPU
        float16, float32, float64, uint8, int8 and int16 are read as they are, in any order and with any
        strides; other integers and booleans are taken as float64. CuPy's arrays, PyTorch's CUDA tensors and
        whatever has DLPack or `__cuda_array_interface__` are read on the GPU as they lie (bfloat16, too);
        `device` must not be "cpu". y and sample_weight may lie there as well, and are checked on the host.
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
    device : {"cpu", "cuda", "auto"}
        "cuda" is an NVIDIA GPU: X is copied there at the first pass, and stays as long as the objective does.
        "auto" is "cuda" where there is one and X is large enough for it (`fastsoftmax.devices.settled`).
    n_threads : int, optional
        None takes every processor that the process may use.

    Attributes
    ----------
    n_params, n_features, n_classes : int
    device : {"cpu", "cuda"}
        Where sums over rows are computed.
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
    a Hessian-vector product half as much again, or as much where the logits of its point are kept: `hessp`
    keeps those of its last point up to a limit that does not grow with n (see `hessian`).
    The bits of a result do not depend on `n_threads`, and on one GPU not on the run. Several threads may call
    one object at the same time.

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
        rows: Any = validation.design_matrix(X)
        y, rows = devices.fetched("y", y, device, rows)
        sample_weight, rows = devices.fetched("sample_weight", sample_weight, device, rows)
        target = validation.targets(y, n_classes, loss, rows)
        weight = validation.sample_weights(sample_weight, rows.shape[0])
        if n_classes is None:
            n_classes = int(target.max()) + 1 if target.ndim == 1 else int(target.shape[1])
        block = RowBlock(rows, target, weight)
        self._build(block, n_classes, l2, fit_intercept, label_smoothing, loss, device, n_threads)

    @classmethod
    def of_rows(cls, rows: RowBlock, n_classes: int, **options: Any) -> SoftmaxObjective:
        """Return the objective of rows that have been through `fastsoftmax.validation` already."""
        self = cls.__new__(cls)
        self._build(rows, n_classes, **options)
        return self

    def _build(
        self,
        rows: RowBlock,
        n_classes: int,
        l2: float = 0.0,
        fit_intercept: bool = True,
        label_smoothing: float = 0.0,
        loss: str = "softmax",
        device: str = "cpu",
        n_threads: int | None = None,
    ) -> None:
        self.l2 = _penalty(l2)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1]; got {label_smoothing!r}")
        self.device = devices.settled(device, rows.X, int(n_classes))
        self._device = devices.get(self.device)
        self._n_threads = validation.thread_count(n_threads)
        memory = Memory()
        self.algebra = Algebra(self._n_threads, memory)
        self.fit_intercept = bool(fit_intercept)
        self.n_features = int(rows.X.shape[1])
        self.n_classes = int(n_classes)
        self.n_params = self.n_classes * (self.n_features + self.fit_intercept)
        self.passes = 0
        self._last_hessian: tuple[Vector, Callable[[Vector], Vector]] | None = None
        self._dtype: Any = None  # of the products: what the rows ask for
        self._family = LOSSES[loss]
        self._narrow = validation.is_narrow(rows.X)
        self._label_smoothing = float(label_smoothing)
        self._loss = self._family.for_targets(rows.target, self.n_classes, label_smoothing=label_smoothing)
        self._source = ArraySource(
            rows.X,
            rows.target,
            rows.weight,
            device=self.device,
            n_threads=self._n_threads,
            block_rows=sparse_block_rows(self.n_classes) if isinstance(rows.X, Csr) else None,
            memory=memory,
        )

    def with_l2(self, l2: float) -> SoftmaxObjective:
        """Return the same objective with another penalty.

        The rows are shared, and so is what is summed over them for preconditioners, from then on.
        """
        other = copy.copy(self)
        other.l2 = _penalty(l2)
        other.passes = 0
        other._last_hessian = None
        other._shared, other._served = self._shared or Shared(), 0.0
        return other

    @property
    def size(self) -> int:
        """The length of a parameter vector: `n_params`, by the solvers' name."""
        return self.n_params

    def pack(self, coef: ArrayLike, intercept: ArrayLike | None = None) -> Vector:
        """Return coef (K, d) and intercept (K,) as one flat float64 vector."""
        coef = validation.real("coef", coef)
        if coef.shape != (self.n_classes, self.n_features):
            raise ValueError(f"coef must be {(self.n_classes, self.n_features)}; got {coef.shape}")
        if not self.fit_intercept:
            return coef.ravel().copy()
        intercept = np.zeros(self.n_classes) if intercept is None else validation.real("intercept", intercept)
        if intercept.shape != (self.n_classes,):
            raise ValueError(f"intercept must be {(self.n_classes,)}; got {intercept.shape}")
        return np.concatenate((coef.ravel(), intercept))

    def unpack(self, params: ArrayLike, *, name: str = "params") -> Params:
        """Return a flat vector as (coef (K, d), intercept (K,)); without an intercept that part is zero."""
        params = validation.real(name, params)
        if params.shape != (self.n_params,):
            raise ValueError(f"{name} must have shape ({self.n_params},); got {params.shape}")
        n_coef = self.n_classes * self.n_features
        intercept = params[n_coef:] if self.fit_intercept else np.zeros(self.n_classes)
        return Params(params[:n_coef].reshape(self.n_classes, self.n_features), intercept)

    def value(self, params: ArrayLike) -> float:
        """Return F in nats. One pass over X. With `params` on the GPU, an array () there: no host waits."""
        return self.value_and_grad(params)[0]

    def value_and_grad(self, params: ArrayLike) -> tuple[float, Vector]:
        """Return F in nats and ∇F (n_params,). One pass over X.

        With `params` on the GPU both are arrays there, of the kind of `params`, and no host waits.
        """
        visitor = self._visitor(params)
        if visitor is not None:
            return self._value_and_grad_there(visitor)
        unpacked = self.unpack(params)
        sums = self._sum(Task("loss_grad", self._loss, unpacked, (), self._dtype))
        grad, square = self._flat(sums, unpacked.coef, self.l2)
        return sums.value / sums.weight + 0.5 * self.l2 * square, grad

    def values_and_grads(self, params: ArrayLike, l2: ArrayLike | None = None) -> tuple[Vector, Vector]:
        """Return F (m,) in nats and ∇F (m, n_params) of several parameter vectors, in one reading of X.

        Parameters
        ----------
        params : array_like (m, n_params)
        l2 : array_like (m,), optional
            A penalty for each, at least 0; by default the objective's. Raises ValueError for other shapes.

        Notes
        -----
        4 m n d K flops; counted as one pass. Dense X is read once for up to 8 vectors, sparse X for each.

        Examples
        --------
        >>> objective = SoftmaxObjective([[1.0], [-1.0]], [0, 1])
        >>> objective.values_and_grads([[0, 0, 0, 0], [9, -9, 0, 0]])[0].round(4)
        array([0.6931, 0.    ])
        """
        vectors = validation.real("params", params)
        if vectors.ndim != 2 or len(vectors) == 0:
            raise ValueError(f"params must be (m, {self.n_params}) with m at least 1; got {vectors.shape}")
        penalties = np.full(len(vectors), self.l2) if l2 is None else validation.real("l2", l2)
        if penalties.shape != (len(vectors),) or not np.all(np.isfinite(penalties) & (penalties >= 0.0)):
            raise ValueError(f"l2 must be {len(vectors)} finite numbers that are not negative; got {l2!r}")
        sets = [self.unpack(vector) for vector in vectors]
        device, n_threads, dtype = self._device, self._n_threads, self._dtype
        self.passes += 1
        parts = self._source.map(
            lambda block: device.loss_grads(self._loss, sets, None, block, n_threads, dtype=dtype)
        )
        values, grads = np.empty(len(vectors)), np.empty(vectors.shape)
        for i, (own, penalty) in enumerate(zip(sets, penalties, strict=True)):
            sums = functools.reduce(Sums.__add__, [part[i] for part in parts])
            grads[i], square = self._flat(sums, own.coef, penalty)
            values[i] = sums.value / sums.weight + 0.5 * penalty * square
        return values, grads

    def hessp(self, params: ArrayLike, direction: ArrayLike) -> Vector:
        """Return ∇²F(params) · direction (n_params,). One pass over X; see `hessian`.

        With `params` on the GPU the product is an array there, as for `value_and_grad`.
        """
        visitor = self._visitor(params)
        if visitor is not None:
            product: Vector = self._hessp_there(visitor, direction)
            return product
        point = validation.real("params", params)
        last = self._last_hessian
        if last is None or not np.array_equal(last[0], point):
            last = point.copy(), self.hessian(point)
            self._last_hessian = last
        return last[1](validation.real("direction", direction))

    def diagonal(self, params: ArrayLike) -> Vector:
        """Return the diagonal of ∇²F (n_params,). One pass over X."""
        coef, intercept = self._curvatures(self.unpack(params))
        return self.pack(coef + self.l2, intercept)

    def hessian(self, params: ArrayLike) -> Callable[[Vector], Vector]:
        """Return v ↦ ∇²F(params) v (n_params,), for many products at one point. One pass over X for each.

        Where the (n, K) logits take no more than 48 MiB, or than 16 parameter vectors, they are computed
        once, for one pass more, and kept as long as what is returned: a product costs a third less.
        """
        here = self.unpack(validation.real("params", params).copy())
        keep = self._keeps_logits
        options: dict[str, Any] = {"keep": keep, "n_threads": self._n_threads, "dtype": self._dtype}
        product = products_at(self._source, self._device, self._loss, here, **options)
        self.passes += keep

        def apply(direction: Vector) -> Vector:
            along = self.unpack(direction, name="direction")
            self.passes += 1
            return self._flat(product(along), along.coef, self.l2)[0]

        return apply

    @property
    def _keeps_logits(self) -> bool:
        """Whether the (n, K) logits take so little room that they are kept while they are needed."""
        itemsize = 4 if self._narrow and self._dtype is None else 8
        n_bytes = self._source.shape[0] * self.n_classes * itemsize
        return bool(n_bytes <= max(LOGITS_BYTES, 8 * LOGITS_VECTORS * self.n_params))

    @property
    def has_finer(self) -> bool:
        """Whether products are float32, and `finer` has them in float64."""
        return self._dtype is None and bool(self._narrow)

    def finer(self) -> SoftmaxObjective | None:
        """Return this objective with float64 products, or None if it has them already.

        Of a value from float32 products about seven digits hold, fewer where large terms cancel.
        """
        if not self.has_finer:
            return None
        other = copy.copy(self)
        other._dtype, other._last_hessian = np.dtype(np.float64), None
        # Row functions want probability targets in the dtype of the logits.
        other._source = self._source.replaced(
            lambda block: (
                block._replace(target=block.target.astype(np.float64)) if block.target.ndim == 2 else block
            )
        )
        first = other._source.map(lambda block: block.target)[0]
        other._loss = self._family.for_targets(first, self.n_classes, label_smoothing=self._label_smoothing)
        return other

    def _sum(self, task: Task, rows: Source | None = None) -> Sums:
        self.passes += 1
        return (self._source if rows is None else rows).sum(task)

    def _flat(self, sums: Sums, coef: NDArray[Any], l2: float) -> tuple[Vector, float]:
        """Return sums / Σ w + l2 · coef as one vector, which takes the place of the sums, and ‖coef‖²."""
        flat = sums.joined[: self.n_params]
        square = self.algebra.penalise(flat[: coef.size], 1.0 / sums.weight, l2, coef.ravel())
        flat[coef.size :] *= 1.0 / sums.weight
        return flat, square


def _penalty(l2: float) -> float:
    if not (np.isfinite(l2) and l2 >= 0.0):
        raise ValueError(f"l2 must be a finite number that is not negative; got {l2!r}")
    return float(l2)
