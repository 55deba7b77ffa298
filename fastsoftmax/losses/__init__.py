"""The losses of a row of logits: inside a kernel, this is the only waist.

A loss is a named tuple of its numbers and a file of this folder. The file registers five row functions for
it, each of which a kernel calls with a contiguous row of logits:

- ``row_loss(loss, z, out, target)`` returns ℓ and writes ∂ℓ/∂z to out, which may be z;
- ``row_hessp(loss, z, s, target)`` turns s into (∂²ℓ/∂z²) s and spoils z;
- ``row_curvature(loss, z, target)`` turns z into the diagonal of ∂²ℓ/∂z²;
- ``row_hessian(loss, z, out, target)`` writes the lower triangle of ∂²ℓ/∂z² to out (K, K) and spoils z;
- ``row_dual(loss, z, target, tilt, theta, q)``, as in `contracts.Mixture`, mixes the probabilities p of
  z + t into p̃ = (1 − θ) p + θ q, returns −H(p̃), the negative entropy, and turns z into p̃ less the target.

A target is what ``targets[i]`` gives: an integer, or a row of probabilities.

Notes
-----
The functions are chosen by the type of the named tuple while a kernel is compiled
(`numba.extending.overload`), so that the choice costs nothing and the kernel can be kept on disk; with a
function passed as an argument it could not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numba.extending import overload

from fastsoftmax.kernels.jit import jit, named_tuple_class

if TYPE_CHECKING:
    from collections.abc import Callable

_ROW_FUNCTIONS: dict[tuple[str, type | None], Any] = {}


def register(name: str, loss: type) -> Callable[[Callable[..., Any]], Any]:
    """Compile a row function and make it what `name` means for a loss.

    Parameters
    ----------
    name : {"row_loss", "row_hessp", "row_curvature", "row_hessian", "row_dual"}
    loss : named tuple class
    """

    def decorate(function: Callable[..., Any]) -> Any:
        # reassoc lets sums over classes become vectors; contract lets a · b + c be one instruction.
        compiled = jit(function, fastmath={"reassoc", "contract"})
        _ROW_FUNCTIONS[name, loss] = compiled
        return compiled

    return decorate


def _registered(name: str, loss: Any) -> Any:
    return _ROW_FUNCTIONS.get((name, named_tuple_class(loss)))


def row_loss(loss: Any, z: Any, out: Any, target: Any) -> Any:
    """Return ℓ(z, target) in nats as float64 and write ∂ℓ/∂z to out, which may be z."""
    return _ROW_FUNCTIONS["row_loss", type(loss)](loss, z, out, target)


def row_hessp(loss: Any, z: Any, s: Any, target: Any) -> None:
    """Turn s into (∂²ℓ/∂z²) s; z is spoilt."""
    _ROW_FUNCTIONS["row_hessp", type(loss)](loss, z, s, target)


def row_curvature(loss: Any, z: Any, target: Any) -> None:
    """Turn z into the diagonal of ∂²ℓ/∂z²."""
    _ROW_FUNCTIONS["row_curvature", type(loss)](loss, z, target)


def row_hessian(loss: Any, z: Any, out: Any, target: Any) -> None:
    """Write the lower triangle of ∂²ℓ/∂z² to out (K, K); z is spoilt."""
    _ROW_FUNCTIONS["row_hessian", type(loss)](loss, z, out, target)


def row_dual(loss: Any, z: Any, target: Any, tilt: Any, theta: Any, q: Any) -> Any:
    """Return the negative entropy of a `contracts.Mixture` in nats as float64; turn z into p̃ − target."""
    return _ROW_FUNCTIONS["row_dual", type(loss)](loss, z, target, tilt, theta, q)


@overload(row_loss)
def _row_loss(loss, z, out, target):
    function = _registered("row_loss", loss)
    return None if function is None else lambda loss, z, out, target: function(loss, z, out, target)


@overload(row_hessp)
def _row_hessp(loss, z, s, target):
    function = _registered("row_hessp", loss)
    return None if function is None else lambda loss, z, s, target: function(loss, z, s, target)


@overload(row_curvature)
def _row_curvature(loss, z, target):
    function = _registered("row_curvature", loss)
    return None if function is None else lambda loss, z, target: function(loss, z, target)


@overload(row_hessian)
def _row_hessian(loss, z, out, target):
    function = _registered("row_hessian", loss)
    return None if function is None else lambda loss, z, out, target: function(loss, z, out, target)


@overload(row_dual)
def _row_dual(loss, z, target, tilt, theta, q):
    function = _registered("row_dual", loss)
    if function is None:
        return None
    return lambda loss, z, target, tilt, theta, q: function(loss, z, target, tilt, theta, q)
