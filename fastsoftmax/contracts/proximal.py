"""The protocols of functions with absolute values: what solvers with proximal steps ask of an objective."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from fastsoftmax.contracts.protocols import Objective

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastsoftmax.contracts.values import State, Vector


class Absolutes(Protocol):
    """A convex function of m parameters that bends at zeros: absolute values, or norms of groups.

    Vectors are (m,) float64. `grad` is always the gradient of the smooth function that it is added to.
    """

    @property
    def bends(self) -> bool:
        """Whether it has a Hessian where it is smooth: norms."""

    def steps(self, diagonal: Vector) -> Vector:
        """Return the step lengths 1 / diagonal that `prox` takes."""

    def prox(self, x: Vector, steps: Vector) -> Vector:
        """Return the proximal map, scaled by `steps`, at x."""

    def of_absolutes(self, x: Vector) -> float:
        """Return its value."""

    def least_subgradient(self, x: Vector, grad: Vector) -> Vector:
        """Return the shortest of grad + its subgradients at x."""

    def is_free(self, x: Vector) -> NDArray[np.bool_]:
        """Return which parameters are not at a kink."""

    def flat_sums(self, free: NDArray[np.bool_]) -> NDArray[np.intp]:
        """Return sets of free parameters, (r, K), along whose sum the smooth function does not change."""

    def without_crossings(self, x: Vector, before: Vector) -> Vector:
        """Return x with zero where a sign, or a group's direction, is not that of `before`."""

    def first_crossing(self, x: Vector, step: Vector) -> float:
        """Return the least part of a step at which a parameter becomes zero; inf if none does."""

    def bend(self, x: Vector, direction: Vector) -> Vector:
        """Return its Hessian at x times a direction, of free parameters."""


class Separate(Absolutes, Protocol):
    """Absolute values of single parameters, Σ t |x|."""

    @property
    def thresholds(self) -> Vector:
        """The factors t, (m,)."""


class BlockMatrix(Protocol):
    """A block-diagonal matrix B (m, m), positive definite."""

    def diagonal(self) -> Vector:
        """Return its diagonal, (m,)."""

    def product(self, matrix: Vector) -> Vector:
        """Return its product with (m, r)."""

    def times(self, factor: float) -> BlockMatrix:
        """Return its multiple."""

    def minimise(
        self,
        low: Vector,
        scaled: Vector,
        slope: Vector,
        thresholds: Vector,
        x: Vector,
        goal: float,
        max_sweeps: int,
    ) -> int:
        """Lower slope · s + ½ sᵀ (B − low scaledᵀ) s + Σ t |x + s| by coordinate descent; x becomes x + s.

        Returns the sweeps, of which the last gained at most `goal`. FloatingPointError if it is not definite.
        """


class ProximalObjective(Absolutes, Objective, Protocol):
    """An objective with the capability "prox": F is a smooth function plus absolute values.

    `value_and_grad` returns F and the gradient of the smooth function, whose products `hessian` returns.
    """

    carried: dict[str, Any] | None
    """What a solver leaves to fits of other strengths of the penalty; None for a fit by itself."""

    @property
    def curvature(self) -> Vector:
        """The second derivative of the penalty's squares in each parameter, (size,)."""

    def nearness(self, x: Vector, grad: Vector) -> Vector:
        """Return the gradients as parts of what keeps parameters at zero; of free ones infinity."""

    def diagonal(self, x: Vector) -> Vector:
        """Return the diagonal of the smooth function's Hessian. One pass."""

    @property
    def has_explicit_hessian(self) -> bool:
        """Whether the Hessian is small enough for `hessian_matrix`."""

    def hessian_matrix(self, x: Vector) -> Vector:
        """Return the smooth function's Hessian, (size, size). One pass."""

    @property
    def reduced_order(self) -> int:
        """For how many parameters `reduced_hessian` is worth its cost."""

    def reduced_hessian(self, x: Vector, places: NDArray[np.intp]) -> Vector:
        """Return the smooth function's Hessian among some ascending parameters, (m, m). One pass."""

    @property
    def has_class_blocks(self) -> bool:
        """Whether `class_blocks` are worth their cost."""

    def class_blocks(self, x: Vector, places: NDArray[np.intp]) -> tuple[NDArray[np.intp], BlockMatrix]:
        """Return some parameters by class, and the Hessian among each class's. One pass."""

    def one_block(self, matrix: Vector) -> BlockMatrix:
        """Return a symmetric matrix (m, m) as one of a single block."""

    def among(self, places: NDArray[np.intp]) -> Separate:
        """Return what the absolute values are to some ascending parameters; not of norms."""

    def excess(self, grad: Vector) -> Vector:
        """Return each feature's largest gradient as a multiple of what keeps it at zero, (d,)."""

    def in_use(self, x: Vector) -> NDArray[np.bool_]:
        """Return which features have a coefficient that is not zero, or is free, (d,)."""

    def of_features(self, features: NDArray[np.intp]) -> ProximalObjective | None:
        """Return the objective of some features alone; None if that would save little."""

    def part_of(self, x: Vector, features: NDArray[np.intp]) -> Vector:
        """Return the parameters of `of_features` from all."""

    def whole_of(self, part: Vector, features: NDArray[np.intp]) -> Vector:
        """Return all parameters from those of some features; the others' are zero."""

    def kept(self) -> State:
        """Return what has been learnt of the rows beside a point, for `restore`."""

    def restore(self, state: State) -> None:
        """Take what `kept` returned in another process."""


class ModelledProximal(ProximalObjective, Protocol):
    """An objective with the capability "prox_model": one whose passes are dear."""

    def value_and_grad(self, x: Vector, *, chooses: bool = False) -> tuple[float, Vector]:
        """Return F and the gradient of the smooth function, and keep what rides on it. One pass.

        With `chooses` the model is from then on that of rows which weigh most at x.
        """

    def model(self, x: Vector, grad: Vector, damping: float) -> ProximalObjective:
        """Return a model of F by rows in memory that has its gradient at x, `grad`. No pass.

        Its Hessian at x has that part of its diagonal more.
        """

    def diagonal_of_last(self, x: Vector) -> Vector:
        """Return the diagonal of the smooth function's Hessian at x, from the last pass. No pass."""

    def damping(self, x: Vector) -> float:
        """Return the damping for a model at x of which nothing is known."""

    def expect(self, x: Vector, grad: Vector) -> None:
        """Let the next pass sum the Hessian of those that are free at x, or nearly, by a gradient there."""

    def known_hessian(self, x: Vector) -> tuple[NDArray[np.intp], Vector] | None:
        """Return the parameters and the Hessian among them that the pass at x summed, or None."""
