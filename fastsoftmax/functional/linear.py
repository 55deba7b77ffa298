"""The cross-entropy of a linear map, computed without holding its logits."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax import devices
from fastsoftmax.contracts import CrossEntropyOptions, Csr, DeviceArray, Params, RowBlock, Sums, row_slice
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import validation
from fastsoftmax.functional import arguments
from fastsoftmax.functional.problem import checked_softmax
from fastsoftmax.sources.array import sparse_block_rows, with_transpose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array, DType, MatrixLike, Rows


class LinearGrads(NamedTuple):
    """The gradients of a linear cross-entropy: X (n, d), weight (K, d), bias (K,); None if not requested."""

    X: Array | None
    weight: Array | None
    bias: Array | None


def linear_cross_entropy(
    X: MatrixLike,
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
    """Return the softmax cross-entropy of X Wᵀ + b, in nats, without holding the (n, K) logits of dense X.

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
    One reading of X; 2 n d K flops. Sparse X is taken in row blocks whose logits take at most 48 MiB.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> X = np.eye(3)
    >>> round(float(fastsoftmax.linear_cross_entropy(X, np.zeros((4, 3)), [0, 1, 2])), 6)
    1.386294
    """
    options = CrossEntropyOptions(
        class_weight, sample_weight, ignore_index, label_smoothing, reduction, z_loss, softcap
    )
    return _linear(X, weight, target, bias, options, ())[0]


def linear_cross_entropy_value_and_grad(
    X: MatrixLike,
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
    """Return the softmax cross-entropy of X Wᵀ + b, in nats, and its gradients.

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
        raise ValueError(f"wrt takes 'X', 'weight' and 'bias'; got {shown(sorted(unknown))}")
    options = CrossEntropyOptions(
        class_weight, sample_weight, ignore_index, label_smoothing, reduction, z_loss, softcap
    )
    return _linear(X, weight, target, bias, options, tuple(wrt))


def _linear(
    X: MatrixLike,
    weight: ArrayLike,
    target: ArrayLike,
    bias: ArrayLike | None,
    options: CrossEntropyOptions,
    wrt: tuple[str, ...],
) -> tuple[Any, LinearGrads]:
    """Return the value and the gradients with respect to `wrt`."""
    arguments.check_options(options)
    rows = validation.design_matrix(X, min_rows=0)
    if isinstance(rows, DeviceArray):
        devices.refuse_on_the_host("cpu", "X")
    coef, intercept = _linear_map(weight, bias, rows.shape[1])
    n_rows, n_features = rows.shape
    n_classes = len(coef)
    dtype = _product_dtype(rows, coef)
    placeholder = np.broadcast_to(np.zeros((), dtype), (n_rows, n_classes))  # the logits' shape, one element
    checked, loss, options = checked_softmax(target, placeholder.shape, placeholder, options)
    row_weight = np.ones(n_rows) if options.sample_weight is None else options.sample_weight
    values = checked.values
    if values.ndim == 1:
        counted = values != options.ignore_index
        row_weight = np.where(counted, row_weight, 0.0)
        values = np.where(counted, values, 0)
    X_grad = np.zeros((n_rows, n_features), dtype) if "X" in wrt else None
    row_values = np.zeros(n_rows) if options.reduction == "none" else None
    device = devices.host()
    params = Params(coef, intercept)
    # A block's extra memory is a (rows, K) matrix if X is sparse, a few tiles if it is dense.
    step = sparse_block_rows(n_classes) if isinstance(rows, Csr) else max(1, n_rows)
    block_sums = []
    for part in (slice(start, start + step) for start in range(0, max(1, n_rows), step)):
        block_X = row_slice(rows, part.start, part.stop)
        block_X = with_transpose(block_X) if "weight" in wrt else block_X
        block = RowBlock(block_X, values[part], row_weight[part])
        block_sums.append(
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
    sums = functools.reduce(Sums.__add__, block_sums)
    value: Any = sums.value if checked.weight or options.reduction != "mean" else np.nan
    return value if row_values is None else row_values.astype(dtype), LinearGrads(
        X_grad,
        sums.coef.astype(dtype) if "weight" in wrt else None,
        sums.intercept.astype(dtype) if bias is not None and "bias" in wrt else None,
    )


def _linear_map(weight: ArrayLike, bias: ArrayLike | None, n_features: int) -> tuple[Array, Array]:
    """Return validated coefficients (K, d), float32 or float64, and intercepts (K,), default zeros."""
    validation.refuse_masked("weight", weight)
    coef = np.asarray(devices.hosted("weight", weight))
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
    return coef, intercept


def _product_dtype(rows: Rows, coef: Array) -> DType:
    """Return the dtype of products: by X if it holds floats, otherwise by the coefficients."""
    deciding = rows.dtype if rows.dtype.kind == "f" else coef.dtype
    return np.dtype(np.float32 if deciding in (np.float16, np.float32) else np.float64)
