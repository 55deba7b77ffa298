"""The options of the cross-entropies as PyTorch has them: validated, in its kinds of error."""

from __future__ import annotations

from typing import NamedTuple

import torch

from fastsoftmax.backends.torch.tensors import FLOATS, check_place

REDUCTIONS = ("none", "mean", "sum")


class Options(NamedTuple):
    """What the loss of a row depends on beside its logits, and how rows are put together."""

    ignore_index: int
    label_smoothing: float
    reduction: str
    z_loss: float
    softcap: float
    """0.0 where there is none: operators have numbers only."""

    def keywords(self) -> dict[str, object]:
        """Return the options as the functions on arrays name them."""
        return {
            "ignore_index": self.ignore_index,
            "label_smoothing": self.label_smoothing,
            "reduction": self.reduction,
            "z_loss": self.z_loss,
            "softcap": self.softcap or None,
        }


SCHEMA = "int ignore_index, float label_smoothing, str reduction, float z_loss, float softcap"


def checked(
    ignore_index: int, label_smoothing: float, reduction: str, z_loss: float, softcap: float | None
) -> Options:
    """Return validated options. Raises ValueError and RuntimeError where PyTorch does."""
    check_reduction(reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if softcap is not None and not softcap > 0.0:
        raise ValueError(f"softcap must be a positive number or None; got {softcap}")
    return Options(ignore_index, float(label_smoothing), reduction, float(z_loss), softcap or 0.0)


def check_reduction(reduction: str) -> None:
    """Raise ValueError unless PyTorch knows this reduction."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")


def check_weight(weight: torch.Tensor | None, n_classes: int) -> None:
    """Raise RuntimeError unless there is a weight for each class, or None."""
    if weight is None:
        return
    check_place("weight", weight)
    if weight.shape != (n_classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {n_classes} classes or no classes but got "
            f"weight tensor of shape: {list(weight.shape)}"
        )


def check_target(target: torch.Tensor, shape: torch.Size) -> bool:
    """Return whether targets of logits of this shape are probabilities; raises for those that do not fit.

    `shape` is (K,) or (n, K, …). Probabilities have it, labels have it without K.
    """
    check_place("target", target)
    if target.shape == shape and not (shape == (1,) and target.dtype not in FLOATS):
        if target.dtype not in FLOATS:
            raise RuntimeError(
                f"Expected floating point type for target with class probabilities, got {target.dtype}"
            )
        return True
    of_labels = shape[:1] + shape[2:] if len(shape) > 1 else shape[:0]
    if len(shape) == 1 and target.shape == (1,) == shape:
        return False
    if target.shape[:1] != of_labels[:1]:
        raise ValueError(
            f"Expected input batch_size ({shape[0]}) to match target batch_size "
            f"({target.shape[0] if target.ndim else 'none'})."
        )
    if target.shape != of_labels:
        raise RuntimeError(f"Expected target size {list(of_labels)}, got {list(target.shape)}")
    if target.dtype.is_floating_point or target.dtype.is_complex or target.dtype is torch.bool:
        raise RuntimeError(f"expected target dtype to be an integer's, but got {target.dtype}")
    return False


def check_labels(error: ValueError, target: torch.Tensor, n_classes: int, ignore_index: int) -> None:
    """Raise IndexError from an error if it is a label that is out of bounds; PyTorch has that kind for it."""
    if target.is_floating_point():
        return
    outside = target[((target < 0) | (target >= n_classes)) & (target != ignore_index)]
    if len(outside):
        raise IndexError(f"Target {int(outside[0])} is out of bounds.") from error
