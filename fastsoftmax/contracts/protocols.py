"""The protocols between layers: losses, sources, penalties, objectives, solvers, and their vector algebra.

A device offers passes over rows (`fastsoftmax.contracts.device`); a source answers a query for each of its
row blocks and adds the answers; an objective divides, penalises and flattens the sums once; a solver sees
nothing but an `Objective`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fastsoftmax.contracts.device import DeviceNumbers, Loss, PassDevice
    from fastsoftmax.contracts.storages import RowBlock
    from fastsoftmax.contracts.values import Array, DType, Record, Solution, State, Vector

Answer = TypeVar("Answer", bound="Addable")
Answer_co = TypeVar("Answer_co", bound="Addable", covariant=True)


class Addable(Protocol):
    """The answer to a query about some rows; it can be added to the answer for other rows.

    One whose attribute `in_any_order` is True adds up to the same, to the bit, in whatever pairs neighbours
    are added.
    """

    def __add__(self, other: Any, /) -> Any:
        """Return the answer for both sets of rows together."""


class Query(Protocol[Answer_co]):
    """A request for sums over rows, with its arguments. It can be pickled."""

    def on(self, device: PassDevice, loss: Loss, block: RowBlock, n_threads: int | None) -> Answer_co:
        """Return the answer for one row block."""


class LossFamily(Protocol):
    """The module of a loss: the functions that an objective needs, beside the row functions it registers.

    Attributes
    ----------
    KINDS : tuple of type
        The types of its losses: named tuples of numbers.
    TAKES_LABELS : bool
        Whether targets may be integer labels (n,); otherwise they are always a matrix (n, K) in [0, 1].
    ROWS_SUM_TO_ONE : bool
        Whether each row of a target matrix must be a distribution over mutually exclusive classes.
    SHIFT_INVARIANT : bool
        Whether adding one number to all logits of a row leaves its loss unchanged.
    """

    KINDS: tuple[type, ...]
    TAKES_LABELS: bool
    ROWS_SUM_TO_ONE: bool
    SHIFT_INVARIANT: bool

    def for_targets(self, target: Array, n_outputs: int, *, label_smoothing: float = 0.0) -> Loss:
        """Return the loss (a `KINDS` tuple) for these targets and that many logits a row."""

    def in_float64(self, loss: Loss) -> Loss:
        """Return the same loss for targets and logits in float64."""

    def curvature_at_zero(self, n_outputs: int) -> float:
        """Return c where ∂²ℓ/∂z² = c I at z = 0 (if shift-invariant: on the vectors that sum to zero)."""

    def weighted_target_sum(self, loss: Loss, target: Array, weight: Vector) -> Vector:
        """Return Σᵢ wᵢ tᵢ of the smoothed targets, (K,)."""

    def losses_and_residuals(self, loss: Loss, logits: Vector, target: Array) -> tuple[Vector, Vector]:
        """Return ℓᵢ in nats, (n,), and ∂ℓᵢ/∂zᵢ, (n, K), of float64 logits, by NumPy: nothing is compiled."""

    def shift_curvature(self, logits: Array, weight: Vector) -> Vector:
        """Return Σᵢ wᵢ ∂pᵢ/∂zᵢᵀ, (K, K), of logits (n, K) and weights (n,)."""

    def feasible_mixture(self, mean_proba: Vector, mean_target: Vector) -> tuple[float, Vector]:
        """Return the least θ, and a q, such that (1 − θ) mean_proba + θ q = mean_target."""


class SourceSpec(NamedTuple):
    """The description of a source's rows, known without a reading of X.

    `n_rows`, `n_features`; `n_outputs`, the number of logits of a row; `dtype` of products with the rows
    (float32 or float64); `weight`, the sum of the rows' weights. `is_dear` tells that the rows are read anew
    for each query, and that samples of them are in memory: these cost no reading. `n_bytes` are then those of
    a reading; 0 where the rows are in memory.
    """

    n_rows: int
    n_features: int
    n_outputs: int
    dtype: DType
    weight: float
    is_dear: bool = False
    n_bytes: int = 0


class Source(Protocol):
    """A set of rows, in memory or elsewhere, that answers queries. It knows no mathematics."""

    @property
    def spec(self) -> SourceSpec:
        """The description of the rows."""

    def sum(self, query: Query[Answer]) -> Answer:
        """Return the sum of the query's answers for all row blocks, added in a fixed order."""

    def sample(self, n_rows: int) -> Source:
        """Return a source of `n_rows` rows sampled without replacement, always the same ones.

        The source itself if it has no more rows than that.
        """

    def in_float64(self, loss: Loss) -> Source:
        """Return a source of the same rows, with probability targets in float64 and the loss for them."""


class Penalty(Protocol):
    """A convex function of the coefficients W (K, d) that an objective adds to the mean loss.

    Attributes
    ----------
    strength : float
        The factor of the penalty; zero is no penalty.
    curvature : float
        The second derivative in each coefficient: added to the Hessian's diagonal.
    smooth : bool
        Whether it has a gradient everywhere, so that the minimum is where the gradient is zero.
    rotation_invariant : bool
        Whether a rotation of the features leaves it unchanged.
    centres_classes : bool
        Whether, among coefficients that differ by one vector added to all classes, it is least for those that
        sum to zero over classes.
    has_conjugate : bool
        Whether its conjugate function is finite, so that a dual lower bound of min F exists.
    """

    @property
    def strength(self) -> float: ...  # noqa: D102

    @property
    def curvature(self) -> float: ...  # noqa: D102

    @property
    def smooth(self) -> bool: ...  # noqa: D102

    @property
    def rotation_invariant(self) -> bool: ...  # noqa: D102

    @property
    def centres_classes(self) -> bool: ...  # noqa: D102

    @property
    def has_conjugate(self) -> bool: ...  # noqa: D102

    def with_strength(self, strength: float) -> Penalty:
        """Return the same penalty with another strength. ValueError unless it is finite and ≥ 0."""

    def value(self, algebra: Algebra, coef: Vector) -> float:
        """Return the penalty of flat coefficients."""

    def add_gradient(
        self, arithmetic: Arithmetic, sums: DeviceNumbers, scale: float, coef: DeviceNumbers
    ) -> DeviceNumbers:
        """Replace sums by scale · sums + the penalty's gradient at coef, and return its value there.

        Both are vectors of one length, on the host or on the device that `arithmetic` computes on. One
        reading of both.
        """

    def conjugate(self, algebra: Algebra, vector: Vector, divisor: float = 1.0) -> float:
        """Return the conjugate function at vector / divisor."""

    def gap(self, algebra: Algebra, grad: Vector) -> float:
        """Return an upper bound of F − min F from ∇F, `grad`, for an objective without intercepts."""


class Algebra(Protocol):
    """Arithmetic of long float64 vectors, on the objective's threads and from its buffers."""

    def vector(self, size: int) -> Vector:
        """Return an uninitialised vector."""

    def dot(self, a: Array, b: Array) -> float:
        """Return a · b."""

    def norm(self, a: Array) -> float:
        """Return the Euclidean norm."""

    def dots(self, rows: Array, b: Array, places: Sequence[int] | None = None) -> Vector:
        """Return the inner products with b (n,) of the rows (m, n) with indices `places`, or of all."""

    def combined(
        self, scales: Vector, rows: Array, places: Sequence[int], factor: float, a: Vector, b: Vector
    ) -> tuple[Vector, float]:
        """Return c = factor · a + Σ scalesᵣ · rowᵣ over the rows with indices `places`, and c · b."""

    def differences(
        self, new: Sequence[Vector], old: Sequence[Vector], out: Sequence[Array]
    ) -> NDArray[np.float64]:
        """Write newₘ − oldₘ to outₘ for m = 0, 1, 2, and return the inner products (3, 3) of the results."""

    def moved(self, a: Vector, b: Vector, factor: float, out: Array | None = None) -> Vector:
        """Return a + factor · b, in `out` if given."""

    def copied(self, a: Vector) -> Vector:
        """Return a copy."""

    def penalise(self, sums: Vector, scale: float, l2: float, coef: Vector) -> float:
        """Replace sums by scale · sums + l2 · coef, and return ‖coef‖². Both of one length."""


class Arithmetic(Protocol):
    """The vector arithmetic of a penalty's gradient, on the host or on a device."""

    def penalise(self, sums: DeviceNumbers, scale: float, l2: float, coef: DeviceNumbers) -> DeviceNumbers:
        """Replace sums by scale · sums + l2 · coef, and return ‖coef‖²."""


class Model(Protocol):
    """A convex function like an objective, of rows in memory: nothing that is asked of it costs a reading.

    Attributes
    ----------
    recipe : ndarray (m, size)
        What `Objective.model_at` makes the same model from.
    """

    recipe: Vector

    def value_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """Return its value and gradient."""

    def hessian(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ H v with its Hessian H at x."""

    def inverse(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ H⁻¹ v, about."""

    def end(self, x: Vector, grad: Vector, steps: list[Vector]) -> Vector:
        """Return the best of steps from x, or of shorter ones, where the gradient of all rows is `grad`."""

    def solved(self, x: Vector, target: Vector, inverse: Callable[[Vector], Vector]) -> Vector:
        """Return a point where its gradient is about `target`, from x, with a first inverse Hessian."""


class Objective(Protocol):
    """The only view of a problem that a solver has: a convex function F of a flat float64 vector.

    Vectors are (size,) float64; F is a weighted mean over rows in nats, plus the penalty.
    """

    @property
    def offers(self) -> frozenset[str]:
        """The capabilities of the objective: names in `fastsoftmax.contracts.protocols.OFFERS`."""

    @property
    def algebra(self) -> Algebra:
        """The arithmetic of such vectors."""

    @property
    def size(self) -> int:
        """The length of the vector."""

    @property
    def passes(self) -> int:
        """The number of passes over the data so far."""

    def value_and_grad(self, x: Vector) -> tuple[float, Vector]:
        """Return F(x) and ∇F(x). One pass over the data."""

    def hessp(self, x: Vector, v: Vector) -> Vector:
        """Return the Hessian-vector product ∇²F(x) v. One pass over the data."""

    def hessian(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ ∇²F(x) v, for many products at one point. One pass over the data for each."""

    def preconditioner(self, x: Vector, fraction: float = 1.0) -> Callable[[Vector], Vector]:
        """Return v ↦ M⁻¹ v, a symmetric positive definite approximation of (∇²F(x))⁻¹.

        `fraction` of the usual number of rows is sampled: far from the optimum a rough one serves as well.
        """

    def preconditioner_cost(self, fraction: float) -> float:
        """Return the estimated cost of `preconditioner` with that fraction, in passes over the data."""

    def inverse_hessian(self, x: Vector) -> Callable[[Vector], Vector]:
        """Return v ↦ (∇²F(x))⁻¹ v by the factorised Hessian. Raises ValueError where that is too large."""

    @property
    def has_lower_bound(self) -> bool:
        """Whether `lower_bound` returns a bound."""

    def lower_bound(self, x: Vector, value: float, grad: Vector) -> float | None:
        """Return a lower bound of min F from F and ∇F at x, or None. A few passes over the data."""

    def corrected_bound(
        self, x: Vector, grad: Vector, goal: float, n_passes: int
    ) -> tuple[float | None, float]:
        """Return another lower bound of min F, for weak penalties, and the gap that is predicted of it.

        The bound is None if the gap is predicted to be above `goal`; it is computed with float64 sums.
        `n_passes` is the number of passes so far, beside which its cost is weighed.
        """

    def unpenalised_bound(
        self, x: Vector, value: float, grad: Vector, goal: float, n_passes: int
    ) -> float | None:
        """Return a lower bound of min F without a penalty, from F and ∇F at x next to the minimum, or None.

        None if it costs much beside the `n_passes` so far; dearer ways are gone only if the gap is
        above `goal` otherwise.
        """

    def likely_gap(self, grad: Vector) -> float:
        """Return an estimate of F − `lower_bound` from ∇F alone; 0 where there is no bound. No pass."""

    @property
    def is_float32(self) -> bool:
        """Whether products are float32, and `in_float64` returns an objective."""

    def as_stored(self, x: Vector, value: float, grad: Vector) -> tuple[float, float]:
        """Return F at x as it will be stored, and what float64 products add to `likely_gap` at x.

        From F and ∇F at x by the objective's own products, and a reading of some of the rows, which is not
        counted as a pass.
        """

    def in_float64(self) -> Objective | None:
        """Return the same objective with float64 products, or None if they are float64 already.

        Its count of passes continues from this one's.
        """


class Modelled(Objective, Protocol):
    """An objective that offers a model of itself: one whose passes are dear."""

    def value_grad_and_model(self, x: Vector, *, near: bool = False) -> tuple[float, Vector, Model]:
        """Return F(x), ∇F(x), and a model of F that is best near x. One pass.

        Where `sums_hessian`, and x is `near` the minimum, it is one that serves from there on.
        """

    def model_at(self, recipe: Vector) -> Model:
        """Return the model with that recipe, to the same bits. One pass."""

    def returns_to(self, x: Vector, value: float, grad: Vector) -> None:
        """Take x, with F and ∇F there, for the point that the next one is a step from."""

    @property
    def sums_hessian(self) -> bool:
        """Whether a model near the minimum is better than those before, and as good to the end."""

    @property
    def has_small_hessian(self) -> bool:
        """Whether `inverse_hessian` costs no pass at the last point of `value_and_grad`."""


OFFERS = {
    "gradient": "a gradient everywhere (a smooth penalty)",
    "hessp": "products with its Hessian",
    "preconditioner": "an approximate inverse of its Hessian",
    "model": "a model of it by rows in memory (rows whose reading is dear)",
    "direct": "sums over few rows in memory (and a penalty)",
    "prox": "a proximal map (absolute values, or norms, in its penalty)",
    "prox_model": "a model of it by rows in memory, with the same proximal map (rows whose reading is dear)",
    "free_bound": "a lower bound of its minimum that costs no pass",
    "inverse_hessian": "an inverse of its whole Hessian (of at most 2,048 parameters, and of one data set)",
}
"""The capabilities that an objective may offer and a solver may need, with their names in messages."""


class Checkpoint(Protocol):
    """A store for a solver's state that outlives the process; the solver does not know its form."""

    def state(self) -> State | None:
        """Return the stored state of this minimisation, or None to begin at the start."""

    def offer(self, state: Callable[[], State]) -> None:
        """Store state() if it is time to. Called between two steps."""


class Solver(Protocol):
    """A module with a function `minimize` that takes an objective to its minimum.

    Attributes
    ----------
    NEEDS : frozenset of str
        The capabilities it requires of an objective, names in `OFFERS`; other objectives are refused.
    """

    NEEDS: frozenset[str]

    def minimize(
        self,
        objective: Objective,
        x0: Vector,
        *,
        tol: float = 1e-6,
        max_iter: int = 1000,
        callback: Callable[[Record, Vector], str | None] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> Solution:
        """Return the minimum, once the relative suboptimality is at most `tol` or after `max_iter` steps.

        With a checkpoint that has a state it continues from there and ignores x0.
        """
