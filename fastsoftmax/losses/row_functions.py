"""The row functions of losses: the only interface between a loss and the kernels.

A loss is a named tuple of its numbers, whose module registers five row functions for it. A kernel calls each
with a contiguous row of logits z (K,):

- ``row_loss(loss, z, out, target)`` returns ℓ and writes ∂ℓ/∂z to out, which may be z;
- ``row_hessp(loss, z, s, target)`` turns s into (∂²ℓ/∂z²) s and overwrites z;
- ``row_curvature(loss, z, target)`` turns z into the diagonal of ∂²ℓ/∂z²;
- ``row_hessian(loss, z, out, target)`` writes the lower triangle of ∂²ℓ/∂z² to out (K, K) and overwrites z;
- ``row_dual(loss, z, target, intercept_shift, theta, q)``, as in `contracts.Mixture`, mixes the
  probabilities p of z + s into p̃ = (1 − θ) p + θ q, returns −H(p̃), the negative entropy, and turns z into
  p̃ less the target.

A target is ``targets[i]``: an integer, or a row of probabilities.

Notes
-----
The functions are chosen by the type of the named tuple when a kernel is compiled
(`numba.extending.overload`): the choice costs nothing at run time, and the kernel can be cached on disk,
unlike one with a function argument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numba.extending import overload

from fastsoftmax.runtime.jit import INNER, inner, named_tuple_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Array, Loss

_ROW_FUNCTIONS: dict[tuple[str, type | None], Any] = {}


def register(name: str, loss: type) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles a row function and registers it as `name` for a loss.

    Parameters
    ----------
    name : {"row_loss", "row_hessp", "row_curvature", "row_hessian", "row_dual"}
    loss : named tuple class
    """

    def decorate(function: Callable[..., Any]) -> Any:
        # reassoc lets sums over classes vectorise; contract lets a · b + c be one instruction.
        compiled = inner(function, fastmath={"reassoc", "contract"})
        _ROW_FUNCTIONS[name, loss] = compiled
        return compiled

    return decorate


def registered(loss: Loss) -> bool:
    """Return whether a loss has row functions, so that kernels can be compiled for it."""
    return ("row_loss", type(loss)) in _ROW_FUNCTIONS


def _registered(name: str, loss: Loss) -> Any:
    return _ROW_FUNCTIONS.get((name, named_tuple_class(loss)))


def row_loss(loss: Loss, z: Array, out: Array, target: Array | int) -> float:
    """Return ℓ(z, target) in nats as float64 and write ∂ℓ/∂z to out, which may be z."""
    value: float = _ROW_FUNCTIONS["row_loss", type(loss)](loss, z, out, target)
    return value


def row_hessp(loss: Loss, z: Array, s: Array, target: Array | int) -> None:
    """Turn s into (∂²ℓ/∂z²) s; z is overwritten."""
    _ROW_FUNCTIONS["row_hessp", type(loss)](loss, z, s, target)


def row_curvature(loss: Loss, z: Array, target: Array | int) -> None:
    """Turn z into the diagonal of ∂²ℓ/∂z²."""
    _ROW_FUNCTIONS["row_curvature", type(loss)](loss, z, target)


def row_hessian(loss: Loss, z: Array, out: Array, target: Array | int) -> None:
    """Write the lower triangle of ∂²ℓ/∂z² to out (K, K); z is overwritten."""
    _ROW_FUNCTIONS["row_hessian", type(loss)](loss, z, out, target)


def row_dual(
    loss: Loss, z: Array, target: Array | int, intercept_shift: Array, theta: float, q: Array
) -> float:
    """Return the negative entropy of a `contracts.Mixture` in nats as float64; turn z into p̃ − target."""
    value: float = _ROW_FUNCTIONS["row_dual", type(loss)](loss, z, target, intercept_shift, theta, q)
    return value


@overload(row_loss, jit_options=INNER)
def _row_loss(loss, z, out, target):
    function = _registered("row_loss", loss)
    return None if function is None else lambda loss, z, out, target: function(loss, z, out, target)


@overload(row_hessp, jit_options=INNER)
def _row_hessp(loss, z, s, target):
    function = _registered("row_hessp", loss)
    return None if function is None else lambda loss, z, s, target: function(loss, z, s, target)


@overload(row_curvature, jit_options=INNER)
def _row_curvature(loss, z, target):
    function = _registered("row_curvature", loss)
    return None if function is None else lambda loss, z, target: function(loss, z, target)


@overload(row_hessian, jit_options=INNER)
def _row_hessian(loss, z, out, target):
    function = _registered("row_hessian", loss)
    return None if function is None else lambda loss, z, out, target: function(loss, z, out, target)


@overload(row_dual, jit_options=INNER)
def _row_dual(loss, z, target, intercept_shift, theta, q):
    function = _registered("row_dual", loss)
    if function is None:
        return None
    return lambda loss, z, target, intercept_shift, theta, q: function(
        loss, z, target, intercept_shift, theta, q
    )
