"""A function on tensors that autograd can differentiate and `torch.compile` leaves as it is.

Called as usual, it is an `autograd.Function`, which costs some ten microseconds less than an operator of
`torch.library` does; while a program is compiled, it is such an operator, whose body the compiler does not
look into. Both have the same forward and backward.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = "fastsoftmax"


class _Positional(inspect.Signature):
    """The signature of a forward that is given all its arguments, in order: binding them changes nothing.

    PyTorch asks a forward for its signature at every call, binds the arguments to it and takes them back;
    Python's own takes longer than a small loss.
    """

    def bind(self, *args: Any, **kwargs: Any) -> _Bound:  # type: ignore[override]
        """Return the arguments as they are."""
        if kwargs:
            raise TypeError(f"unexpected keyword arguments: {', '.join(kwargs)}")
        return _Bound(args, kwargs)


class _Bound(NamedTuple):
    """What `inspect.BoundArguments` is to PyTorch."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def apply_defaults(self) -> None:
        """Do nothing: there are none."""


_ANY = _Positional([inspect.Parameter("arguments", inspect.Parameter.VAR_POSITIONAL)])


class Operation:
    """An operation of the name `fastsoftmax::name`, given its four parts.

    Parameters
    ----------
    schema : str
        Name, arguments and results in PyTorch's schema language, without the library's name.
    forward : callable
        From the arguments to a tensor or a tuple of tensors, of new memory. Tensors come detached or not.
    fake : callable
        The same from tensors without numbers: shapes, dtypes and, C-ordered, strides of the results.
    setup_context, backward : callables
        As those of `torch.autograd.Function`.
    """

    def __init__(
        self,
        schema: str,
        forward: Callable[..., Any],
        fake: Callable[..., Any],
        setup_context: Callable[[Any, Any, Any], None],
        backward: Callable[..., Any],
    ) -> None:
        name = schema.partition("(")[0]

        def positional(*arguments: Any) -> Any:
            return forward(*arguments)

        positional.__signature__ = _ANY  # type: ignore[attr-defined]
        members = {
            "forward": staticmethod(positional),
            "setup_context": staticmethod(setup_context),
            "backward": staticmethod(backward),
        }
        function: Any = type(name, (torch.autograd.Function,), members)
        self._apply = function.apply
        qualified = f"{LIBRARY}::{name}"
        torch.library.define(qualified, schema.removeprefix(name))
        torch.library.impl(qualified, ("cpu", "cuda"))(_in_order(forward))
        torch.library.register_fake(qualified)(fake)
        torch.library.register_autograd(qualified, backward, setup_context=setup_context)
        self.operator = getattr(torch.ops.fastsoftmax, name)
        """The operator, which backwards call: what traces them does not say that it compiles."""

    def __call__(self, *arguments: Any) -> Any:
        """Return the operation's results."""
        if torch.compiler.is_compiling():
            return self.operator(*arguments)
        return self._apply(*arguments)


def _in_order(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return `forward` with C-ordered results, as compiled programs are told that they are."""

    def ordered(*arguments: Any) -> Any:
        results = forward(*arguments)
        if isinstance(results, tuple):
            return tuple(tensor.contiguous() for tensor in results)
        return results.contiguous()

    return ordered


def is_one(grad: torch.Tensor) -> bool:
    """Return whether an incoming gradient is the number 1 on the CPU, as it is of a loss that ends all.

    False while a program is compiled, where it has no number yet.
    """
    return (
        grad.ndim == 0
        and type(grad) is torch.Tensor
        and grad.device.type == "cpu"
        and grad.detach().item() == 1.0
    )
