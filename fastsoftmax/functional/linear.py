"""The cross-entropy of a linear map, without its logits."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax import devices, validation
from fastsoftmax.contracts import Csr, Params, RowBlock, Sums, row_slice
from fastsoftmax.functional import arguments
from fastsoftmax.losses import softmax
from fastsoftmax.sources.array import sparse_block_rows, with_transpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Rows


class LinearGrads(NamedTuple):
    """Gradients of a linear cross-entropy; None where not asked for."""

    X: NDArray[Any] | None
    weight: NDArray[Any] | None
    bias: NDArray[Any] | None


def linear_cross_entropy(
    X: Any,
    weight: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    z_loss: float = 0.0,
    softcap: float | None = None,
) -> Any:
    """Return the softmax cross-entropy of X Wᵀ + b without holding the (n, K) logits of dense X.

    Parameters
    ----------
    X : array_like or SciPy CSR/CSC, (n, d)
    weight : array_like (K, d)
    target : array_like
        Integers (n,) in [0, K) or `ignore_index`, or probabilities (n, K).
    bias : array_like (K,), optional
    class_weight, sample_weight, ignore_index, label_smoothing, reduction, z_loss, softcap
        As in `cross_entropy`.

    Returns
    -------
    float, or ndarray (n,) with reduction "none"

    Raises
    ------
    ValueError
        Wrong shapes, NaN or infinity in X, a label out of range.

    Notes
    -----
    One reading of X; 2 n d K flops.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> X = np.eye(3)
    >>> round(float(fastsoftmax.linear_cross_entropy(X, np.zeros((4, 3)), [0, 1, 2])), 6)
    1.386294
    """
    options = (class_weight, sample_weight, ignore_index, label_smoothing, reduction, z_loss, softcap)
    return _linear(X, weight, target, bias, options, ())[0]


def linear_cross_entropy_value_and_grad(
    X: Any,
    weight: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    z_loss: float = 0.0,
    softcap: float | None = None,
    wrt: Sequence[str] = ("weight", "bias"),
) -> tuple[Any, LinearGrads]:
    """Return the softmax cross-entropy of X Wᵀ + b and its gradients.

    Parameters, meanings and errors are those of `linear_cross_entropy`; besides:

    Parameters
    ----------
    wrt : sequence of {"X", "weight", "bias"}
        What to differentiate with respect to.

    Returns
    -------
    value : float, or ndarray (n,) with reduction "none"
    grads : named tuple (X, weight, bias)
        (n, d), (K, d) and (K,) in the dtype of the products; None where not in `wrt`. `bias` is None as well
        where no bias was given. With reduction "none", gradients of the sum of the rows' losses.

    Notes
    -----
    One reading of dense X, 4 n d K flops (6 with "X"). Sums over rows run in float64.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> value, grads = fastsoftmax.linear_cross_entropy_value_and_grad(
    ...     np.ones((1, 2)), np.zeros((2, 2)), [0], np.zeros(2))
    >>> grads.bias
    array([-0.5,  0.5])
    """
    unknown = set(wrt) - {"X", "weight", "bias"}
    if unknown:
        raise ValueError(f"wrt takes 'X', 'weight' and 'bias'; got {sorted(unknown)}")
    options = (class_weight, sample_weight, ignore_index, label_smoothing, reduction, z_loss, softcap)
    return _linear(X, weight, target, bias, options, tuple(wrt))


def _linear(
    X: Any, weight: Any, target: Any, bias: Any, options: tuple[Any, ...], wrt: tuple[str, ...]
) -> tuple[Any, LinearGrads]:
    class_weight, sample_weight, ignore_index, label_smoothing, reduction, z_loss, softcap = options
    ignore_index = arguments.check_options(reduction, label_smoothing, z_loss, softcap, ignore_index)
    rows = validation.design_matrix(X, least_rows=0)
    validation.refuse_masked("weight", weight)
    coef = np.asarray(weight)
    n_rows, n_features = rows.shape
    if coef.ndim != 2 or coef.shape[1] != n_features or coef.dtype.kind not in "fiub":
        raise ValueError(f"weight must be numbers (K, {n_features}); got {coef.dtype} {coef.shape}")
    n_classes = len(coef)
    if n_classes == 0:
        raise ValueError("weight must have a row for each of K ≥ 1 classes; got none")
    if coef.dtype not in arguments.FLOATS or not coef.flags.aligned:
        coef = arguments.laid_out("weight", coef, np.float32 if coef.dtype == np.float16 else np.float64)
    intercept = np.zeros(n_classes) if bias is None else validation.real("bias", bias)
    if intercept.shape != (n_classes,):
        raise ValueError(f"bias must have shape ({n_classes},); got {intercept.shape}")
    class_weight = arguments.weights("class_weight", class_weight, n_classes)
    sample_weight = arguments.weights("sample_weight", sample_weight, n_rows)
    dtype = _product_dtype(rows, coef)
    stand_in = np.broadcast_to(np.zeros((), dtype), (n_rows, n_classes))  # the logits' shape, not their size
    checked = arguments.target_of(target, stand_in.shape, stand_in, class_weight, sample_weight, ignore_index)
    share = arguments.share_of(checked.weight, reduction)
    loss = softmax.for_targets(
        checked.values,
        n_classes,
        class_weight=np.full(n_classes, share) if class_weight is None else class_weight * share,
        label_smoothing=label_smoothing,
        z_loss=z_loss * arguments.share_of(checked.rows, reduction),
        softcap=softcap or 0.0,
    )
    row_weight = np.ones(n_rows) if sample_weight is None else sample_weight
    values = checked.values
    if values.ndim == 1:
        counted = values != ignore_index
        row_weight = np.where(counted, row_weight, 0.0)
        values = np.where(counted, values, 0)
    X_grad = np.zeros((n_rows, n_features), dtype) if "X" in wrt else None
    row_values = np.zeros(n_rows) if reduction == "none" else None
    device = devices.get("cpu")
    params = Params(coef, intercept)
    # A block's extra memory is its (rows, K) multipliers where X is sparse, a few tiles where it is dense.
    step = sparse_block_rows(n_classes) if isinstance(rows, Csr) else max(1, n_rows)
    pieces = []
    for part in (slice(start, start + step) for start in range(0, max(1, n_rows), step)):
        here = row_slice(rows, part.start, part.stop)
        here = with_transpose(here) if "weight" in wrt else here
        block = RowBlock(here, values[part], row_weight[part])
        pieces.append(
            device.loss_grad(
                loss,
                params,
                block,
                row_values=None if row_values is None else row_values[part],
                X_grad=None if X_grad is None else X_grad[part],
                coef_grad="weight" in wrt,
                dtype=dtype,
            )
        )
    sums = functools.reduce(Sums.__add__, pieces)
    value: Any = sums.value if checked.weight or reduction != "mean" else np.nan
    return value if row_values is None else row_values.astype(dtype), LinearGrads(
        X_grad,
        sums.coef.astype(dtype) if "weight" in wrt else None,
        sums.intercept.astype(dtype) if bias is not None and "bias" in wrt else None,
    )


def _product_dtype(rows: Rows, coef: NDArray[Any]) -> np.dtype[Any]:
    """Return the dtype of X where it is a float's, otherwise that of the coefficients."""
    kind = rows.data.dtype if isinstance(rows, Csr) else rows.dtype
    if kind.kind != "f":
        kind = coef.dtype
    return np.dtype(np.float32 if kind in (np.float16, np.float32) else np.float64)
