"""Softmax and sigmoid cross-entropies of logits, with PyTorch's semantics, on NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastsoftmax import devices
from fastsoftmax.contracts import CrossEntropyOptions
from fastsoftmax.functional.arguments import check_options
from fastsoftmax.functional.problem import is_small, sigmoid_problem, small_value_and_grad, softmax_problem

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array
    from fastsoftmax.contracts.device import Accelerator


def cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> Any:
    """Return the softmax cross-entropy of logits with integer or probability targets, in nats.

    ℓᵢ = Σ_c a_c (lseᵢ − z_ic) + z_loss · lseᵢ², with lse = log Σ e^z and a_c = class_weight_c · t_c, where
    the target t has been smoothed: (1 − ε) t + ε / K.

    Parameters
    ----------
    logits : array_like, (n, K) or (K,)
    target : array_like
        Integers (n,) (or a scalar, for (K,) logits) in [0, K) or `ignore_index`; or probabilities of the
        shape of `logits`.
    class_weight : array_like (K,), optional
    sample_weight : array_like (n,), optional
        Multiplies a row's loss and its term of the denominator. Rows of weight zero are not read.
    ignore_index : int, default -100
        Rows with this integer target are left out.
    label_smoothing : float in [0, 1], default 0.0
    reduction : {"mean", "sum", "none"}
        "mean" divides by the summed weights (class weight of the target × sample weight) of the rows counted;
        for probability targets, by the summed sample weights (n where there are none).
    z_loss : float, default 0.0
        Adds z_loss · lse² to a row's loss.
    softcap : float, optional
        Replaces z by softcap · tanh(z / softcap).

    Returns
    -------
    float, or ndarray (n,) with reduction "none"
        The result has the dtype of the logits ("none"); sums run in float64.

    Raises
    ------
    ValueError
        Wrong shapes, a label outside [0, K) that is not `ignore_index`, options out of range.
    TypeError
        Targets or logits that are not numbers.

    Notes
    -----
    Meanings are those of `torch.nn.functional.cross_entropy`; all rows ignored give NaN for "mean". `z_loss`
    and `softcap` as in Liger Kernel [1]_; the z_loss terms are divided as the loss is. One reading of the
    logits.

    Logits (n, K) on an NVIDIA GPU (CuPy, PyTorch, any array with DLPack) are computed there, and the value is
    an array there, float64 except with "none". Weights are then not checked for negative numbers and NaN.

    References
    ----------
    .. [1] P.-L. Hsu et al., "Liger Kernel: Efficient Triton Kernels for LLM Training", 2024.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> round(float(fastsoftmax.cross_entropy(np.zeros((2, 4)), [1, 3])), 6)
    1.386294
    """
    if (
        class_weight is sample_weight is softcap is None
        and label_smoothing == z_loss == 0.0
        and (reduction == "mean" or reduction == "sum")
        and is_small(logits, target, ignore_index, None)
    ):  # the gradient costs a small part of what validation would
        return small_value_and_grad(logits, target, ignore_index, reduction, None)[0]
    options = CrossEntropyOptions(
        class_weight, sample_weight, ignore_index, label_smoothing, reduction, z_loss, softcap
    )
    if (device := devices.elsewhere(logits)) is not None:
        return _on(device, logits, target, options, None, with_grad=False)[0]
    return softmax_problem(logits, target, options).solve(None)[0]


def cross_entropy_value_and_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    z_loss: float = 0.0,
    softcap: float | None = None,
    out: Array | None = None,
) -> tuple[Any, Array]:
    """Return the softmax cross-entropy and its gradient with respect to the logits.

    Parameters, meanings and errors are those of `cross_entropy`; besides:

    Parameters
    ----------
    out : ndarray, optional
        Receives the gradient; of the shape of `logits` and the gradient's dtype. May be `logits` itself.

    Returns
    -------
    value : float, or ndarray (n,) with reduction "none"
    dlogits : ndarray
        ∂(mean or sum)/∂logits; with "none", of the sum of the rows' losses. Of the shape of `logits`.

    Notes
    -----
    One reading of the logits and one writing of the gradient.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> value, dlogits = fastsoftmax.cross_entropy_value_and_grad(np.zeros((1, 4)), [0])
    >>> dlogits
    array([[-0.75,  0.25,  0.25,  0.25]])
    """
    if (
        class_weight is sample_weight is softcap is None
        and label_smoothing == z_loss == 0.0
        and (reduction == "mean" or reduction == "sum")
        and is_small(logits, target, ignore_index, out)
    ):
        return small_value_and_grad(logits, target, ignore_index, reduction, out)
    options = CrossEntropyOptions(
        class_weight, sample_weight, ignore_index, label_smoothing, reduction, z_loss, softcap
    )
    if (device := devices.elsewhere(logits)) is not None:
        return _on(device, logits, target, options, out, with_grad=True)
    problem = softmax_problem(logits, target, options)
    return problem.solve(problem.slopes(out), out)


def _on(
    device: Accelerator,
    logits: Any,
    target: Any,
    options: CrossEntropyOptions,
    out: Any,
    *,
    with_grad: bool,
) -> tuple[Any, Any]:
    """Return the cross-entropy and its gradient, computed on the logits' device."""
    check_options(options)
    return device.cross_entropy(logits, target, options, with_grad=with_grad, out=out)


def sigmoid_cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
) -> Any:
    """Return the sigmoid cross-entropy of logits with independent labels (multi-label), in nats.

    ℓᵢ = Σ_c class_weight_c [log(1 + e^z_ic) − t_ic z_ic]: the sum over a row's labels.

    Parameters
    ----------
    logits : array_like, (n, K) or (K,)
    target : array_like of the shape of `logits`, in [0, 1]
    class_weight : array_like (K,), optional
        Weighs the labels.
    sample_weight : array_like (n,), optional
        Multiplies a row's loss and its term of the denominator.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the summed sample weights (n where there are none).

    Returns
    -------
    float, or ndarray (n,) with reduction "none"

    Raises
    ------
    ValueError
        Wrong shapes, targets outside [0, 1], options out of range.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> round(float(fastsoftmax.sigmoid_cross_entropy(np.zeros((1, 2)), [[0.0, 1.0]])), 6)
    1.386294
    """
    return sigmoid_problem(logits, target, class_weight, sample_weight, reduction).solve(None)[0]


def sigmoid_cross_entropy_value_and_grad(
    logits: ArrayLike,
    target: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
    out: Array | None = None,
) -> tuple[Any, Array]:
    """Return the sigmoid cross-entropy and its gradient with respect to the logits.

    Parameters, meanings and errors are those of `sigmoid_cross_entropy`; `out` and the result are those of
    `cross_entropy_value_and_grad`.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> fastsoftmax.sigmoid_cross_entropy_value_and_grad(np.zeros((1, 2)), [[0.0, 1.0]])[1]
    array([[ 0.5, -0.5]])
    """
    problem = sigmoid_problem(logits, target, class_weight, sample_weight, reduction)
    return problem.solve(problem.slopes(out), out)
