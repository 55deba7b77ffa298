"""The protocols of a device module: passes over rows, functions of rows of logits, and moving arrays.

Every device module implements `PassDevice` and `RowFunctions`; the CPU implements `Host` as well, a device
with memory of its own `Accelerator`. `tests/devices/test_protocols.py` compares each module with them, name
by name and argument by argument. `n_threads` None takes every processor that the process may use; a GPU
ignores it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    from fastsoftmax.contracts.storages import DeviceArray, Resident, RowBlock, Rows
    from fastsoftmax.contracts.values import (
        Array,
        Centre,
        CrossEntropyOptions,
        DType,
        Mixture,
        Params,
        Sums,
        Top,
        Vector,
    )
    from fastsoftmax.runtime.buffers import BufferPool

    Loss: TypeAlias = tuple[Any, ...]
    """A named tuple of a loss's parameters: floats and flat arrays."""
    DeviceNumbers: TypeAlias = Any
    """An array of the device, or of another library: CuPy and the simulator have no type in common."""
    OutArray: TypeAlias = "Array | None"
    """An optional output array, filled by the call if it is given."""


class PassDevice(Protocol):
    """Passes over a block of rows, and the placement of such blocks."""

    def require(self) -> None:
        """Raise DeviceUnavailable, with the reason, unless kernels can be run here."""

    def float64_speed(self) -> float:
        """Return the speed of float64 products as a fraction of that of float32 products."""

    def has_memory(self, n_bytes: int) -> bool:
        """Return whether the device's memory can hold rows of `n_bytes` for as long as they are used."""

    def placed(self, block: RowBlock) -> RowBlock:
        """Return the block, prepared for several passes: the device may keep a copy of its rows."""

    def loss_grad(
        self,
        loss: Loss,
        params: Params,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        row_values: OutArray = None,
        X_grad: OutArray = None,
        coef_grad: bool = True,
        dtype: DType | None = None,
        stays: bool = False,
    ) -> Sums:
        """Return Σ wᵢ ℓᵢ, a sum in nats, and its gradient. One reading of X, 4 n d K flops.

        If given, `row_values` (n,) receives wᵢ ℓᵢ and `X_grad` (n, d) the gradient with respect to X. Without
        `coef_grad` the sums' `coef` is empty. With `stays` the sums stay on the device, and the host does not
        wait for them.
        """

    def check(self, loss: Loss, stored: Params, params: Params | None, block: RowBlock) -> Sums:
        """Return Σ wᵢ ℓᵢ in nats at `stored`, and its gradient at `params`, by float64 products of few rows.

        Without `params` the sums' `coef` is empty, and their `intercept` zero. Not fast, nor compiled.
        """

    def loss_grads(
        self,
        loss: Loss,
        params: list[Params],
        weights: Vector | None,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        dtype: DType | None = None,
    ) -> list[Sums]:
        """Return the sums of `loss_grad` for s sets of parameters, each with its own row of `weights` (s, n).

        `weights` None gives all of them the block's weights.
        """

    def hessp(
        self,
        loss: Loss,
        params: Params,
        direction: Params,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        logits: Array | None = None,
        dtype: DType | None = None,
        stays: bool = False,
    ) -> Sums:
        """Return a Hessian-vector product: the Hessian of Σ wᵢ ℓᵢ at `params` times `direction`.

        One reading of X, 6 n d K flops; 4 n d K if `logits` (n, K), those at `params`, are given.
        """

    def diagonal(
        self,
        loss: Loss,
        params: Params,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        dtype: DType | None = None,
    ) -> Sums:
        """Return the diagonal of the Hessian of Σ wᵢ ℓᵢ. One reading of X."""

    def gram(
        self,
        loss: Loss,
        params: Params | None,
        pairs: bool,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        dtype: DType | type = np.float64,
        classes: tuple[int, int] | None = None,
        centre: Centre | None = None,
    ) -> Sums:
        """Return the class blocks of the Hessian of Σ wᵢ ℓᵢ as `coef`: its diagonal blocks, or all `pairs`.

        `classes` (start, stop) limits them to a range of classes. `centre` is subtracted from each row; the
        parameters remain those of the rows as they are. With `params` None the result is the
        weighted Gram matrix of the rows Σ wᵢ xᵢ xᵢᵀ, the block of a curvature of 1.
        """

    def dual(
        self,
        loss: Loss,
        params: Params,
        mixture: Mixture,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        logits: Array | None = None,
        coef_grad: bool = True,
        dtype: DType | None = None,
    ) -> Sums:
        """Return Σ wᵢ Σ p̃ log p̃, a sum in nats, and the residual sums of the mixed probabilities p̃.

        `logits` (n, K), those at `params`, are not computed again if given. Without `coef_grad` the residuals
        are not multiplied by X, and the sums' `coef` is empty.
        """

    def shift_curvature(
        self,
        loss: Loss,
        params: Params,
        intercept_shift: Vector,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        logits: Array | None = None,
        dtype: DType | None = None,
    ) -> Sums:
        """Return the curvature in the intercepts, Σ wᵢ ∂pᵢ/∂sᵀ (K, K) at the logits plus s, as `coef`.

        s is `intercept_shift` (K,). `logits` (n, K), those at `params`, are not computed again if given.
        """

    def target_sum(self, loss: Loss, block: RowBlock) -> Sums:
        """Return Σ wᵢ tᵢ of the smoothed targets as `intercept` (K,); `coef` is empty. X is not read."""

    def logits(
        self,
        params: Params,
        X: Rows | Resident,
        n_threads: int | None = None,
        *,
        dtype: DType | None = None,
        out: OutArray = None,
        buffers: BufferPool | None = None,
    ) -> Array:
        """Return the logits X Wᵀ + b, (n, K), in the dtype of the products; in `out` if given.

        2 n d K flops. Temporary arrays come from `buffers` if given.
        """

    def top(
        self,
        params: Params,
        X: Rows,
        k: int,
        n_threads: int | None = None,
        *,
        with_totals: bool = False,
        dtype: DType | None = None,
    ) -> Top:
        """Return the k largest logits of each row. The (n, K) logits are never held."""


class RowFunctions(Protocol):
    """Functions of rows of logits (n, K) that are in memory. The output may be the input itself."""

    def softmax(self, x: Array, out: Array, n_threads: int | None = None) -> None:
        """Write the softmax of each row of x to out."""

    def log_softmax(self, x: Array, out: Array, n_threads: int | None = None) -> None:
        """Write the logarithm of the softmax of each row of x to out."""

    def logsumexp(self, x: Array, out: Array, n_threads: int | None = None) -> None:
        """Write log Σ e^x of each row of x to out (n,)."""

    def sigmoid(self, x: Array, out: Array, n_threads: int | None = None, *, log: bool = False) -> None:
        """Write the sigmoid 1 / (1 + e^(−x)), or its logarithm, to out."""

    def row_losses(
        self,
        loss: Loss,
        x: Array,
        target: Array,
        *,
        weight: Vector | None = None,
        ignore_index: int = -1,
        row_values: OutArray = None,
        slopes: OutArray = None,
        n_threads: int | None = None,
    ) -> float:
        """Return Σ wᵢ ℓ(xᵢ, tᵢ) over the rows of x, in nats.

        If given, `row_values` (n,) receives wᵢ ℓᵢ and `slopes` (n, K) its gradient with respect to x. Rows
        whose integer target is `ignore_index` are left out.
        """


class Device(PassDevice, RowFunctions, Protocol):
    """The protocol of every device module."""


class Host(Device, Protocol):
    """The protocol of the CPU: a device with functions for layouts, dtypes and checks of NumPy arrays."""

    def corrected_dual(
        self,
        loss: Loss,
        params: Params,
        step: Params,
        shared: bool,
        mean: Vector | None,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        logits: Array | None = None,
        intercept_shift: Vector | None = None,
    ) -> Sums:
        """Return Σ wᵢ Σ p̃ log p̃ in nats, and the residual sums, of corrected rows p̃.

        `change` is `step` (xᵢ − mean, 1); `logits` (n, K), those at `params`, are not computed again if
        given. `intercept_shift` corrects p̃ once more. Float64, one reading of X, 6 n d K flops.
        """

    def least_gram(
        self,
        loss: Loss,
        params: Params,
        mean: Vector | None,
        block: RowBlock,
        n_threads: int | None = None,
        *,
        logits: Array | None = None,
        dtype: DType | None = None,
    ) -> Sums:
        """Return Σ wᵢ cᵢ x̃ᵢ x̃ᵢᵀ, x̃ᵢ = (xᵢ − mean, 1), as `coef`, cᵢ the row's least curvature.

        `intercept` holds the residual sums at `params`, flat as parameters are. Float64, but for the products
        of features, which are of `dtype` if given. One reading of X, n d (d + 4 K) flops.
        """

    def largest_norm(
        self, root: Array, mean: Vector | None, block: RowBlock, n_threads: int | None = None
    ) -> float:
        """Return the largest ‖(xᵢ − mean, 1) root‖² of rows with a weight, by float64 products.

        One reading of X, 2 n d m flops for a `root` (d + 1, m).
        """

    def columns(self, name: str, x: Array, out: Array, n_threads: int | None = None) -> None:
        """Write softmax, log_softmax or logsumexp of each column of x (K, n) to out."""

    def small_cross_entropy(
        self,
        x: Array,
        target: NDArray[np.int64],
        ignore_index: int,
        mean: bool,
        slopes: Array,
    ) -> tuple[float, int, int]:
        """Return the cross-entropy of few rows, the number that counts, and the index of a bad label or −1.

        The mean or the sum in nats, without weights or other options; `slopes` (n, K) receives its gradient.
        """

    def narrow(self, name: str, x: Array, out: Array, bf16: bool, n_threads: int | None = None) -> None:
        """Write softmax, log_softmax or logsumexp of rows of float16 or bfloat16, passed as uint16 bits."""

    def narrow_losses(
        self,
        loss: Loss,
        x: Array,
        target: Array,
        bf16: bool,
        *,
        weight: Vector | None = None,
        ignore_index: int = -1,
        row_values: OutArray = None,
        slopes: OutArray = None,
        n_threads: int | None = None,
    ) -> float:
        """Return `row_losses` of rows of float16 or bfloat16, passed as uint16 bits."""

    def all_in_unit(self, x: Array, n_threads: int | None = None) -> bool:
        """Return whether all elements of x lie in [0, 1]."""

    def count_targets(
        self,
        target: NDArray[np.int64],
        n_classes: int,
        ignore_index: int,
        class_weight: Vector | None,
        sample_weight: Vector | None,
    ) -> tuple[float, float, int | None]:
        """Return the rows' summed sample weights, those times class weights, and the index of a bad label.

        Rows with the label `ignore_index` do not count. The index is None if every label is in range.
        """

    def fit_plan(self, loss: Loss, block: RowBlock, *, direct: bool = False) -> list[tuple[str, str, str]]:
        """Return the kernels that a fit of these rows will call, the first first: module, name, signature.

        `direct` tells that the solver of small problems will run.
        """

    def predict_plan(self, loss: Loss, X: Rows) -> list[tuple[str, str, str]]:
        """Return the kernels that predictions for these rows call: module, name, signature."""

    def sparse_faults(
        self, indptr: Array, indices: Array, limit: int, n_threads: int | None = None
    ) -> tuple[bool, bool]:
        """Return whether indptr decreases anywhere, and whether an index lies outside [0, limit)."""


class Accelerator(Device, Protocol):
    """The protocol of a device with memory of its own: moving arrays, and functions of arrays there."""

    def there(self, a: DeviceNumbers) -> DeviceNumbers:
        """Return an array on the device: an upload of a host array, a device array itself."""

    def here(self, a: DeviceNumbers) -> Array:
        """Return a host copy of a device array."""

    def empty(self, shape: int | tuple[int, ...], dtype: DType | type) -> DeviceNumbers:
        """Return an uninitialised array on the device."""

    def taken(self, x: DeviceNumbers) -> DeviceArray:
        """Return another library's array on the device as a `DeviceArray`, without a copy."""

    def fetched(self, device_array: DeviceArray) -> Array:
        """Return a host copy of the array's numbers. The host waits for them."""

    def checked_rows(self, x: DeviceNumbers, name: str = "X", min_rows: int = 1) -> DeviceArray:
        """Return rows (n, d) on the device, checked to be finite numbers. Reads them once; the host waits."""

    def some_rows(self, rows: DeviceArray, chosen: NDArray[np.int64]) -> DeviceArray:
        """Return a copy of the rows with these indices."""

    def with_constant(self, rows: DeviceArray, value: float) -> DeviceArray:
        """Return a float64 copy of the rows with one more feature, constant at `value`."""

    def penalise(self, sums: DeviceNumbers, scale: float, l2: float, coef: DeviceNumbers) -> DeviceNumbers:
        """Turn sums into scale · sums + l2 · coef in place, and return ‖coef‖² as an array ()."""

    def along(
        self,
        name: str,
        x: DeviceNumbers,
        axis: int | tuple[int, ...] | None,
        out: DeviceNumbers = None,
        *,
        keepdims: bool = False,
    ) -> DeviceNumbers:
        """Return softmax, log_softmax or logsumexp of an array along axes, on the array's device."""

    def cross_entropy(
        self,
        logits: DeviceNumbers,
        target: DeviceNumbers,
        options: CrossEntropyOptions,
        *,
        with_grad: bool,
        out: DeviceNumbers = None,
    ) -> tuple[DeviceNumbers, DeviceNumbers]:
        """Return a softmax cross-entropy in nats and its gradient, on the logits' device."""
