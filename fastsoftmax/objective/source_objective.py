"""The objective of a source's rows: sums over rows, normalised, penalised and flattened, once and here.

For rows (xᵢ, yᵢ) with weights wᵢ, coefficients W (K, d), intercepts b (K,) and a penalty P

    F(W, b) = Σᵢ wᵢ ℓ(W xᵢ + b, yᵢ) / Σᵢ wᵢ  +  P(W)        (nats)

Its parts are in files of their own: the order of a parameter vector (`layout`), Hessian-vector products
(`hessian`), lower bounds (`certificate`), preconditioners (`preconditioning`), parameters on a GPU
(`on_device`), and the source with its count of readings (`counted`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from fastsoftmax import losses
from fastsoftmax.contracts.queries import LossGrad, LossGrads
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import validation
from fastsoftmax.linalg.vectors import Algebra
from fastsoftmax.objective import frequent_block, on_device, stored
from fastsoftmax.objective.certificate import Certificate
from fastsoftmax.objective.corrected import Correction
from fastsoftmax.objective.counted import CountedSource
from fastsoftmax.objective.hessian import products_at
from fastsoftmax.objective.layout import Layout
from fastsoftmax.objective.preconditioning import Preconditioning
from fastsoftmax.objective.unpenalised import SelfConcordance
from fastsoftmax.penalties.squared_norm import SquaredNorm
from fastsoftmax.sources.scaled import ScaledSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Centre, DType, Loss, Params, Vector
    from fastsoftmax.contracts.protocols import Addable, LossFamily, Penalty, Query, Source
    from fastsoftmax.objective.direct import DirectObjective
    from fastsoftmax.runtime.buffers import BufferPool

    Answer = TypeVar("Answer", bound=Addable)

# The (n, K) logits are kept if they take at most LOGITS_BYTES (48 MiB), which does not grow with n, or at
# most LOGITS_VECTORS parameter vectors of float64, fewer than a solver holds anyway. They save a third of a
# Hessian-vector product (docs/decisions.md).
LOGITS_BYTES, LOGITS_VECTORS = 3 * 2**24, 16


class SourceObjective:
    """F, ∇F and ∇²F v over the rows of a source, which receives queries and nothing else.

    Parameters
    ----------
    source : Source
    loss : named tuple
        The loss that the source passes to the device with each query.
    penalty : Penalty, optional
        By default none.
    fit_intercept : bool
    device : {"cpu", "cuda"}
        The device on which the source computes its sums.
    n_threads : int, optional
        The number of threads of vector arithmetic and factorisations here; the source has its own.
    buffers : BufferPool, optional
        The memory pool of long vectors.

    Attributes
    ----------
    device : str
    algebra : Algebra
        The arithmetic of parameter vectors.

    Notes
    -----
    The source's sums are divided by Σ w, penalised and flattened here. Values are float64, in nats;
    `fastsoftmax.SoftmaxObjective` describes precision and cost.
    """

    def __init__(
        self,
        source: Source,
        loss: Loss,
        *,
        penalty: Penalty | None = None,
        fit_intercept: bool = True,
        device: str = "cpu",
        n_threads: int | None = None,
        buffers: BufferPool | None = None,
    ) -> None:
        spec = source.spec
        self.device = device
        self._n_threads = validation.thread_count(n_threads)
        self._dtype: DType | None = None  # of the products; None takes that of the rows
        self._stored_dtype: DType = np.dtype(np.float64)  # of parameters, once a solver has ended
        self._loss, self._family = loss, losses.family_of(loss)
        self._layout = Layout(spec.n_outputs, spec.n_features, bool(fit_intercept))
        self.algebra = Algebra(self._n_threads, buffers)
        self._join(CountedSource(source), SquaredNorm() if penalty is None else penalty)

    def _join(self, rows: CountedSource, penalty: Penalty) -> None:
        """Build the parts that depend on the rows and on the penalty."""
        family, algebra = self._family, self.algebra
        self._rows, self._penalty = rows, penalty
        self._certificate = Certificate(rows, self._layout, family, penalty, algebra, self._dtype)
        self._preconditioning = Preconditioning(
            rows, self._layout, family, penalty, algebra, self._n_threads, self._dtype
        )
        self._direct: tuple[DirectObjective | None] | None = None
        self._last_hessian: tuple[Vector, Callable[[Vector], Vector]] | None = None

    def _sibling(self) -> Self:
        """Return a shallow copy, whose parts have still to be rebuilt by `_join`."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def with_l2(self, l2: float) -> Self:
        """Return the same objective with another strength of its penalty.

        Both share the rows and, from then on, the sums over them for preconditioners; passes start from 0.
        """
        other = self._sibling()
        penalty, rows = self._penalty.with_strength(l2), CountedSource(self._rows.source)
        preconditioning = self._preconditioning.with_penalty(penalty, rows)
        other._join(rows, penalty)
        other._preconditioning = preconditioning
        return other

    def centred(self, centre: Centre) -> Self:
        """Return the same objective with parameter vectors that hold the intercepts of rows centred there.

        Only `pack` and `unpack` tell: they translate between those vectors and coefficients and intercepts of
        the rows as they are. The minimum is the same; with columns whose mean is large beside their deviation
        the Hessian is far better conditioned. Parameters on a GPU are not taken. Raises ValueError without
        intercepts.
        """
        if not self.fit_intercept:
            raise ValueError("rows are centred by their intercepts; this objective has none")
        other = self._sibling()
        other._layout = self._layout._replace(centre=centre)
        other._join(self._rows, self._penalty)
        return other

    def centred_at(self, mean: Vector) -> Self:
        """Return the same objective, of scaled rows, with parameters of those centred at `mean` (d,).

        Raises ValueError without intercepts, or if the source's rows are not scaled.
        """
        if self._scaled is None or not self.fit_intercept:
            raise ValueError("rows are centred that are scaled, and by their intercepts")
        other = self._sibling()
        rows = CountedSource(self._scaled.centred_at(mean), self._rows.passes)
        other._join(rows, self._penalty)
        return other

    @property
    def l2(self) -> float:
        """The strength of the penalty."""
        return self._penalty.strength

    @property
    def penalty(self) -> Penalty:
        """The penalty: the function of the coefficients that is added to the mean loss."""
        return self._penalty

    @property
    def fit_intercept(self) -> bool:
        """Whether there are intercepts."""
        return self._layout.fit_intercept

    @property
    def n_features(self) -> int:
        """The number of features, d."""
        return self._layout.n_features

    @property
    def n_classes(self) -> int:
        """The number of logits of a row, K."""
        return self._layout.n_classes

    @property
    def n_params(self) -> int:
        """The length of a parameter vector."""
        return self._layout.size

    @property
    def size(self) -> int:
        """The length of a parameter vector: `n_params` under the name that solvers use."""
        return self._layout.size

    @property
    def total_weight(self) -> float:
        """The sum of the rows' weights."""
        return self._rows.spec.weight

    @property
    def passes(self) -> int:
        """The number of readings of X so far."""
        return self._rows.passes

    @property
    def bytes_a_pass(self) -> int:
        """The bytes that a pass reads from elsewhere; 0 for rows in memory."""
        return self._rows.spec.n_bytes

    @property
    def offers(self) -> frozenset[str]:
        """The capabilities that solvers may use (`fastsoftmax.contracts.protocols.OFFERS`)."""
        offered = {"hessp", "preconditioner"}
        offered |= {"gradient"} if self._penalty.smooth else set()
        offered |= {"inverse_hessian"} if self.has_explicit_hessian else set()
        return frozenset(offered | ({"direct"} if self.direct is not None else set()))

    @property
    def direct(self) -> DirectObjective | None:
        """The same objective for the solver of small problems; None where rows are many, or elsewhere."""
        return None

    def pack(self, coef: ArrayLike, intercept: ArrayLike | None = None) -> Vector:
        """Return coef (K, d) and intercept (K,) as one flat float64 vector."""
        return self._layout.pack(coef, intercept)

    def unpack(self, params: ArrayLike, *, name: str = "params") -> Params:
        """Return views (coef (K, d), intercept (K,)) of a flat vector; zeros if there is no intercept."""
        return self._layout.unpack(params, name=name)

    def value(self, params: ArrayLike) -> float:
        """Return F in nats. One pass over X. With `params` on the GPU it is an array () there."""
        return self.value_and_grad(params)[0]

    def value_and_grad(self, params: ArrayLike) -> tuple[float, Vector]:
        """Return F in nats and ∇F (n_params,). One pass over X.

        With `params` on the GPU both are arrays there, of the same library, and the host does not wait.
        """
        on_gpu = self._on_device(params)
        if on_gpu is not None:
            return on_gpu.value_and_grad()
        unpacked = self.unpack(params)
        sums = self._rows.sum(LossGrad(unpacked, self._dtype))
        grad, penalty = self._layout.flatten(
            sums, unpacked.coef, self._penalty, self.algebra, balanced=self._balances
        )
        return sums.value / sums.weight + penalty, grad

    def values_and_grads(self, params: ArrayLike, l2: ArrayLike | None = None) -> tuple[Vector, Vector]:
        """Return F (m,) in nats and ∇F (m, n_params) at m parameter vectors, from one reading of X.

        Parameters
        ----------
        params : array_like (m, n_params)
        l2 : array_like (m,), optional
            The strength of the penalty for each, at least 0; by default the objective's.

        Raises
        ------
        ValueError
            For other shapes, or an `l2` that is negative or not finite.

        Notes
        -----
        4 m n d K flops; counted as one pass. Dense X is read once for up to 8 vectors, sparse X for each.

        Examples
        --------
        >>> from fastsoftmax import SoftmaxObjective
        >>> objective = SoftmaxObjective([[1.0], [-1.0]], [0, 1])
        >>> objective.values_and_grads([[0, 0, 0, 0], [9, -9, 0, 0]])[0].round(4)
        array([0.6931, 0.    ])
        """
        vectors = validation.real("params", params)
        if vectors.ndim != 2 or len(vectors) == 0:
            raise ValueError(f"params must be (m, {self.n_params}) with m at least 1; got {vectors.shape}")
        strengths = np.full(len(vectors), self.l2) if l2 is None else validation.real("l2", l2)
        if strengths.shape != (len(vectors),) or not np.all(np.isfinite(strengths) & (strengths >= 0.0)):
            raise ValueError(
                f"l2 must be {len(vectors)} finite numbers that are not negative; got {shown(l2)}"
            )
        sets = tuple(self.unpack(vector) for vector in vectors)
        many_sums = self._rows.sum(LossGrads(sets, self._dtype)).each
        values, grads = np.empty(len(vectors)), np.empty(vectors.shape)
        for i, (one, sums, strength) in enumerate(zip(sets, many_sums, strengths, strict=True)):
            penalty = self._penalty.with_strength(strength)
            grads[i], penalty_value = self._layout.flatten(sums, one.coef, penalty, self.algebra)
            values[i] = sums.value / sums.weight + penalty_value
        return values, grads

    def hessp(self, params: ArrayLike, direction: ArrayLike) -> Vector:
        """Return the Hessian-vector product ∇²F(params) · direction (n_params,). One pass over X.

        The last point's logits are kept as by `hessian`: products at an unchanged `params` cost less.

        With `params` on the GPU the product is an array there, as for `value_and_grad`.
        """
        on_gpu = self._on_device(params)
        if on_gpu is not None:
            product: Vector = on_gpu.hessp(direction)
            return product
        point = validation.real("params", params)
        last = self._last_hessian
        if last is None or not np.array_equal(last[0], point):
            last = point.copy(), self.hessian(point)
            self._last_hessian = last
        return last[1](validation.real("direction", direction))

    def diagonal(self, params: ArrayLike) -> Vector:
        """Return the diagonal of ∇²F(params), (n_params,). One pass over X."""
        coef, intercept = self._preconditioning.curvatures(self.unpack(params))
        both = np.concatenate(((coef + self._penalty.curvature).ravel(), intercept))
        return both[: self._layout.size]

    def hessian(self, params: ArrayLike) -> Callable[[Vector], Vector]:
        """Return v ↦ ∇²F(params) v (n_params,), for many products at one point. One pass over X for each.

        If the (n, K) logits take at most 48 MiB, or 16 parameter vectors, they are computed once, for one
        pass more, and kept as long as the returned function: a product then costs a third less.
        """
        point = self.unpack(validation.real("params", params).copy())
        product = products_at(self._rows, point, keep=self._keeps_logits, dtype=self._dtype)

        def apply(direction: Vector) -> Vector:
            vector = self.unpack(direction, name="direction")
            sums = product(vector)
            return self._layout.flatten(
                sums, vector.coef, self._penalty, self.algebra, balanced=self._balances
            )[0]

        return apply

    def preconditioner(self, params: ArrayLike, fraction: float = 1.0) -> Callable[[Vector], Vector]:
        """Return v ↦ M⁻¹ v (n_params,), a symmetric positive semidefinite approximation of (∇²F)⁻¹.

        The form is chosen by size (`fastsoftmax.preconditioners.choice`); the rows may be sampled, and
        `fraction` scales the size of that sample. Costs m n d² flops for m blocks over n rows (a Gram matrix
        once), counted as one pass, another pass for a diagonal, and a factorisation. At zero parameters one
        block, over more rows, serves every class. Raises FloatingPointError if the Hessian is not finite.
        """
        return self._preconditioning.at(self.unpack(params), fraction)

    def preconditioner_cost(self, fraction: float = 1.0) -> float:
        """Return the estimated cost of `preconditioner`, in passes over X, at `params` that are not zero.

        Counted in flops (`fastsoftmax.preconditioners.choice`), not timed: it is the same on every machine.

        Examples
        --------
        >>> from fastsoftmax import SoftmaxObjective
        >>> SoftmaxObjective([[1.0], [-1.0]], [0, 1]).preconditioner_cost() < 1.0
        True
        """
        return self._preconditioning.cost(fraction)

    @property
    def pairs_bytes(self) -> int:
        """The bytes that pairs of a quasi-Newton method may take where 16 MiB hold few: those of sparse X.

        A pass over the entries takes longer than the products with pairs of as many bytes.
        """
        return frequent_block.n_bytes(self._rows.source)

    def inverse_hessian(self, params: ArrayLike) -> Callable[[Vector], Vector]:
        """Return v ↦ (∇²F(params))⁻¹ v (n_params,); a pseudo-inverse if ∇²F is singular.

        Raises ValueError above 2,048 parameters. One pass over X of n (K d)² flops, and (K d)³ / 3 flops for
        the factorisation.
        """
        return self._preconditioning.inverse_hessian(self.unpack(params))

    def hessian_matrix(self, params: ArrayLike) -> Vector:
        """Return ∇²F(params), (n_params, n_params). One pass over X of n (K d)² flops."""
        sums = self._rows.sum(self._preconditioning.hessian_query(self.unpack(params)))
        K, d = self.n_classes, self.n_features
        matrix = np.empty((K, d + 1, K, d + 1))
        for place, (k, other) in enumerate(zip(*np.tril_indices(K), strict=True)):
            block = np.tril(sums.coef[place])
            block = (block + np.tril(block, -1).T) / sums.weight
            matrix[k, :, other], matrix[other, :, k] = block, block
        by_class = np.arange(K * (d + 1)).reshape(K, d + 1)
        order = np.concatenate((by_class[:, :d].ravel(), by_class[:, d]))[: self.n_params]
        flat = matrix.reshape(K * (d + 1), -1)[np.ix_(order, order)]
        places = np.arange(K * d)
        flat[places, places] += self._penalty.curvature
        return flat

    def sum_over_rows(self, query: Query[Answer]) -> Answer:
        """Return the answer of all rows to a query. One pass over X."""
        return self._rows.sum(query)

    @property
    def row_centre(self) -> Vector | None:
        """The mean (d,) that vectors' rows are less than the source's; None if it is zero."""
        return None if self._layout.centre is None else self._layout.centre.mean

    @property
    def family(self) -> LossFamily:
        """The family of the rows' loss."""
        return self._family

    @property
    def mean_target(self) -> Vector:
        """The weighted mean of the targets, (K,). X is not read."""
        return self._certificate.mean_target

    @property
    def has_explicit_hessian(self) -> bool:
        """Whether the Hessian is small enough for `inverse_hessian`."""
        return self._preconditioning.has_explicit_hessian

    @property
    def has_lower_bound(self) -> bool:
        """Whether `lower_bound` returns a bound: with a penalty."""
        return self._penalty.has_conjugate

    def lower_bound(self, params: ArrayLike, value: float, grad: Vector) -> float | None:
        """Return a lower bound of min F, in nats, from F and ∇F at `params`; None if l2 = 0.

        F(params) less the bound is the duality gap, an upper bound of F(params) − min F: see
        `fastsoftmax.objective.certificate.dual_sums`. Without an intercept the gap is ‖∇F‖² / (2 l2), for no
        pass; with one, it takes two passes over X, or a few more if the logits are not kept (as for
        `hessian`). The bound is at least 0, as every term of F is.
        """
        if not self.has_lower_bound:
            return None
        if not self.fit_intercept:
            return self._certificate.without_intercept(value, grad)
        return self._certificate.with_free_intercept(self.unpack(params), self._keeps_logits)

    def corrected_bound(
        self, params: ArrayLike, grad: Vector, goal: float, n_passes: int
    ) -> tuple[float | None, float]:
        """Return a lower bound of min F, in nats, from a corrected dual point, and the gap predicted of it.

        The bound is None if that gap, about gᵀ H⁻¹ g / 2 with a lower estimate H of ∇²F(params), is above
        `goal`, or if there is no such bound: without a penalty, on a GPU, or with too many features. Where
        the penalty is weak it is far better than `lower_bound`, and its sums are float64 for any X: see
        `fastsoftmax.objective.corrected`. `n_passes` is the number of passes made so far, beside which its
        own cost is weighed: about n d² flops for the prediction, and one or two passes for the bound.
        """
        if not self.has_lower_bound or self.device != "cpu":
            return None, np.inf
        correction = Correction(
            self._rows, self._layout, self._family, self._penalty, self.algebra, self._preconditioning
        )
        return correction.bound(self.unpack(params), grad, goal, n_passes, self._keeps_logits)

    def unpenalised_bound(
        self, params: ArrayLike, value: float, grad: Vector, goal: float, n_passes: int
    ) -> float | None:
        """Return a lower bound of min F, in nats, without a penalty, from F and ∇F at `params`, or None.

        It exists near a minimum whose classes overlap, with linearly independent columns: see
        `fastsoftmax.objective.unpenalised`. None, too, with a penalty, on a GPU, with float32 products, of
        rows whose readings are dear, or if it costs more than a quarter of the `n_passes` so far: two
        readings of X of n d² flops, and those of the whole Hessian if the gap is above `goal` without.
        `grad` is (n_params,); `value` and `goal`, the largest F − bound that is of use, are in nats.

        Examples
        --------
        >>> from fastsoftmax import SoftmaxObjective
        >>> objective = SoftmaxObjective([[1.0], [-1.0], [1.0], [-1.0]], [0, 1, 1, 0])
        >>> at_minimum = [0.0, 0.0, 0.0, 0.0]
        >>> value, grad = objective.value_and_grad(at_minimum)
        >>> round(objective.unpenalised_bound(at_minimum, value, grad, 1e-6, 10), 4)
        0.6931
        """
        if self._penalty.strength > 0.0 or self.device != "cpu" or self.is_float32 or self._rows.spec.is_dear:
            return None
        concordance = SelfConcordance(self._rows, self._layout, self._family, self._preconditioning)
        return concordance.bound(self.unpack(params), value, grad, goal, n_passes, self._keeps_logits)

    def likely_gap(self, grad: Vector) -> float:
        """Return an estimate of the duality gap from ∇F alone: ‖∇_W F‖² / (2 l2), in nats; 0 if l2 = 0.

        It is the gap where the gradient of the intercepts is zero. `grad` is (n_params,). No pass.

        Examples
        --------
        >>> from fastsoftmax import SoftmaxObjective
        >>> objective = SoftmaxObjective([[1.0], [-1.0]], [0, 1], l2=0.5)
        >>> value, grad = objective.value_and_grad([0.0, 0.0, 0.0, 0.0])
        >>> round(objective.likely_gap(grad), 3)
        0.5
        """
        return (
            self._certificate.likely_gap(self._layout.split(grad).coef.ravel())
            if self.has_lower_bound
            else 0.0
        )

    @property
    def is_float32(self) -> bool:
        """Whether products are float32, so that `in_float64` returns an objective."""
        return self._dtype is None and self._rows.spec.dtype == np.float32

    def storing(self, dtype: DType | type) -> Self:
        """Return the same objective, for parameters that will be stored in that dtype (`as_stored`)."""
        other = self._sibling()
        other._stored_dtype = np.dtype(dtype)
        return other

    def as_stored(self, x: Vector, value: float, grad: Vector) -> tuple[float, float]:
        """Return F in nats at x as it will be stored, and what float64 products add to `likely_gap` at x.

        `value` and `grad` are F and ∇F at x. What rounding changes is taken to be what it changes in at most
        512 of the rows; of more than 512, the mean over these is known to some 10⁻⁹ for float32. Not counted
        as a pass.
        """
        return stored.value_and_hidden(
            self._rows,
            self._layout,
            self._family,
            self._penalty,
            self.algebra,
            self.is_float32,
            self._stored_dtype,
            x,
            value,
            grad,
            self._scaled,
        )

    def in_float64(self) -> Self | None:
        """Return this objective with float64 products, or None if it has them already.

        A value from float32 products has about seven correct digits, fewer if large terms cancel.
        """
        if not self.is_float32:
            return None
        other = self._sibling()
        other._dtype = np.dtype(np.float64)
        other._loss = self._family.in_float64(self._loss)
        rows = self._rows.in_float64(other._loss)
        preconditioning = self._preconditioning.in_float64(rows)
        other._join(rows, self._penalty)
        other._preconditioning = preconditioning
        return other

    @property
    def _scaled(self) -> ScaledSource | None:
        """The source if its rows are scaled: parameters are stored for the rows as they are."""
        source = self._rows.source
        return source if isinstance(source, ScaledSource) else None

    @property
    def _balances(self) -> bool:
        """Whether to remove the mean of gradients over classes: rounding that float64 does not leave."""
        is_far = self._layout.centre is not None or (self._scaled is not None and self._scaled.is_far)
        imprecise = self.is_float32 or is_far
        return imprecise and self._layout.balances(self._family, self._penalty)

    @property
    def _keeps_logits(self) -> bool:
        """Whether the (n, K) logits are small enough to be kept between products.

        Not those of rows that are read anew: their targets are read with them.
        """
        if self._rows.spec.is_dear:
            return False
        itemsize = 4 if self.is_float32 else 8
        n_bytes = self._rows.spec.n_rows * self.n_classes * itemsize
        return bool(n_bytes <= max(LOGITS_BYTES, 8 * LOGITS_VECTORS * self.n_params))

    def _on_device(self, params: ArrayLike) -> on_device.DeviceParams | None:
        """Return the objective at parameters that are on a GPU; None for those of the host."""
        device_array = on_device.taken(params, self.device)
        if device_array is None:
            return None
        if self._layout.centre is not None:
            raise TypeError("a centred objective takes parameters of the host")
        return on_device.DeviceParams(device_array, self._rows, self._layout, self._penalty, self._dtype)
