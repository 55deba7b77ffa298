"""Predictions of a fitted model, in row blocks of bounded memory."""

from __future__ import annotations

import contextlib
import functools
import math
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastsoftmax import devices
from fastsoftmax.contracts import Csr, Params, is_narrow, row_slice
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import dask, validation
from fastsoftmax.data.blocks.row_set import RowSet
from fastsoftmax.estimator import offsets, progress_line, streamed_prediction
from fastsoftmax.estimator.streamed_prediction import over_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import Array, MatrixLike, Rows, Top
    from fastsoftmax.contracts.device import Device

PREDICTION_BYTES = 32 * 2**20  # of a row block besides the result: memory that does not grow with n
PASSES = 0.5  # the cost of a prediction in passes, for "auto": logits without sums over rows
# Up to so many logits of sparse rows, a search while they are in cache does not repay cutting the rows to
# parts with equal numbers of entries.
FEW_LOGITS = 2**16
MIN_ROWS = 64  # of a block: fewer would not repay converting the coefficients for each block


class Prediction:
    """The mixin of SoftmaxRegression with predictions, from `coef_`, `intercept_` and `classes_`.

    For rows on a GPU, results are arrays there of the same library, except for labels that are text; under
    scikit-learn's `array_api_dispatch` they are that for rows of any library's on the CPU, too. Logits
    and probabilities are float32 for float32 and narrower rows, float16 and bfloat16 included, float64
    otherwise.

    For rows of `fastsoftmax.open_rows` a method returns an iterator of its results for the blocks; with
    `out=` an array or the name of a file (.npy, .parquet, .csv) it writes them there. For collections of Dask
    it returns a lazy dask.array of the same blocks.

    `offset` (n, K), or (n,) for one logit, are known logits that are added, of rows in memory. None is zeros,
    of a model fitted with an offset, too.
    """

    coef_: Any
    intercept_: Array
    classes_: Array
    device: str
    n_threads: int | None
    verbose: int
    # For models whose coefficients were set by hand:
    _multilabel: bool = False
    _one_vs_rest: bool = False
    _with_offset: bool = False
    _float64_products: bool = False  # whether float32 products do not tell the rows of the fit apart

    def _rows(self, X: MatrixLike, y: object, *, reset: bool) -> Rows:
        """Return validated rows; implemented by the estimator."""
        raise NotImplementedError

    @over_rows
    def decision_function(self, X: MatrixLike, *, offset: ArrayLike | None = None) -> Array:
        """Return the logits, (n, K), or (n,) for two classes, in the dtype of products with X."""
        self._check_is_fitted()
        if offset is None:
            logits = self._outputs(X, self.coef_.shape[0], lambda device, z: z)
        else:
            logits = offsets.logits(self, X, offset)
        return logits[:, 0] if self._is_binary() else logits

    @over_rows
    def predict(self, X: MatrixLike, *, offset: ArrayLike | None = None) -> Array:
        """Return the most probable label of each row, (n,); for multi-label models, (n, K) of 0 and 1."""
        if offset is not None:
            return offsets.labels_of(self, offsets.logits(self, X, offset))
        self._check_is_fitted()
        rows = self._rows(X, (), reset=False)
        device = self._device_for(rows)
        with self._work(rows):
            if self._multilabel:
                labels = devices.empty(rows, (rows.shape[0], self.coef_.shape[0]), np.int64)
                for part, z in self._logits(device, rows):
                    labels[part] = z > 0
                return devices.given_back(rows, labels)
            out, labels_of = devices.labels_for(rows, self.classes_, (rows.shape[0],))
            if self._is_binary():
                for part, z in self._logits(device, rows):
                    out[part] = labels_of((z[:, 0] > 0).astype(np.intp))
            else:
                for part, codes in self._best(device, rows):
                    out[part] = labels_of(codes)
            return devices.given_back(rows, out)

    @over_rows
    def predict_proba(self, X: MatrixLike, *, offset: ArrayLike | None = None) -> Array:
        """Return the class probabilities, (n, K); rows sum to one unless the model is multi-label.

        Of one-against-rest models they are the sigmoids of the logits divided by their sum; where all of them
        underflow to zero, the limit of that, the softmax of the logits.
        """
        return self._probabilities_of(X, offset, log=False)

    @over_rows
    def predict_log_proba(self, X: MatrixLike, *, offset: ArrayLike | None = None) -> Array:
        """Return the log-probabilities of the classes, (n, K), computed from the logits: never log(0)."""
        return self._probabilities_of(X, offset, log=True)

    @over_rows
    def predict_top_k(self, X: MatrixLike, k: int, *, offset: ArrayLike | None = None) -> tuple[Array, Array]:
        """Return the k most probable classes of each row and their probabilities, most probable first.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d)
        k : int
            From 1 to K.
        offset : array_like (n, K), or (n,) for one logit, optional
            Known logits to add.

        Returns
        -------
        classes : ndarray (n, k)
            Labels, in the order of the logits; of equal ones the earlier class comes first.
        proba : ndarray (n, k)

        Raises
        ------
        ValueError
            If k is no integer from 1 to K.

        Notes
        -----
        Reads X once. The logits of a few rows at a time are searched while they are in cache, and the (n, K)
        logits are never held.
        """
        self._check_is_fitted()
        n_classes = len(self.classes_)
        if not (isinstance(k, numbers.Integral) and 1 <= k <= n_classes):
            raise ValueError(f"k must be an integer from 1 to {n_classes}; got {shown(k)}")
        if offset is not None:
            z = offsets.logits(self, X, offset)
            proba = self._probabilities(devices.host(), z.copy(), log=False)
            return offsets.top_of(self, z, proba, int(k))
        rows = self._rows(X, (), reset=False)
        device = self._device_for(rows)
        shape = rows.shape[0], int(k)
        with self._work(rows):
            classes, labels_of = devices.labels_for(rows, self.classes_, shape)
            proba = devices.empty(rows, shape, self._dtype_with(rows))
            best = self._top_of_two if self._is_binary() else self._top_of_many
            for part, index, probabilities in best(device, rows, int(k)):
                classes[part] = labels_of(index)
                proba[part] = probabilities
            return devices.given_back(rows, classes), devices.given_back(rows, proba)

    def score(
        self,
        X: MatrixLike | RowSet,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        offset: ArrayLike | None = None,
    ) -> float:
        """Return the mean accuracy of the predicted labels, weighted by `sample_weight`, as a float."""
        if offset is not None:
            offsets.refuse_elsewhere(X)
        X, y, sample_weight = dask.taken(X, y, sample_weight)
        if isinstance(X, RowSet):
            return streamed_prediction.score(self, X)
        from sklearn.metrics import accuracy_score

        named = ("predictions", self.predict(X, offset=offset)), ("y", y), ("sample_weight", sample_weight)
        predicted, y, weight = (devices.fetched(name, a, self.device)[0] for name, a in named)
        return float(accuracy_score(y, predicted, sample_weight=weight))

    def _probabilities_of(self, X: MatrixLike, offset: ArrayLike | None, *, log: bool) -> Array:
        """Return the (log) probabilities of rows in memory, (n, K)."""
        self._check_is_fitted()
        if offset is not None:
            return self._probabilities(devices.host(), offsets.logits(self, X, offset), log=log)
        return self._outputs(X, len(self.classes_), functools.partial(self._probabilities, log=log))

    def _check_is_fitted(self) -> None:
        """Raise NotFittedError unless there are fitted attributes."""
        # With one of them scikit-learn's own check has nothing to say, unless a class asks for its own.
        if "coef_" not in self.__dict__ or hasattr(self, "__sklearn_is_fitted__"):
            check_is_fitted(self)

    def _device_for(self, rows: Rows) -> Device:
        """Return the module that computes the logits of rows."""
        return devices.get(devices.settled(self.device, rows, self.coef_.shape[0], PASSES))

    def _work(self, rows: Rows) -> AbstractContextManager[Any]:
        """Compute on rows in the body, in their library's stream; `verbose` shows what is compiled."""
        return self._shown_work(rows) if self.verbose else devices.work(rows)

    @contextlib.contextmanager
    def _shown_work(self, rows: Rows) -> Iterator[None]:
        with progress_line.shown(self.verbose), devices.work(rows):
            yield

    def _top_of_two(self, device: Device, rows: Rows, k: int) -> Iterator[tuple[slice, Array, Array]]:
        """Yield slices of the rows, their top class indices and probabilities, for the binary model."""
        for part, z in self._logits(device, rows):
            # By the logits: probabilities that round to one would lose their order.
            second = z > 0
            order = np.concatenate((second, ~second), axis=1)[:, :k]
            yield part, order.astype(np.intp), self._sigmoid(device, np.where(order, z, -z))

    def _top_of_many(self, device: Device, rows: Rows, k: int) -> Iterator[tuple[slice, Array, Array]]:
        """Yield slices of the rows, their top class indices and probabilities."""
        if self._one_vs_rest:  # the sum of the sigmoids is not one that the search below adds up
            for part, z in self._logits(device, rows):
                classes = np.argsort(-z, axis=1, kind="stable")[:, :k]
                proba = self._probabilities(device, z, log=False)
                yield part, classes, np.take_along_axis(proba, classes, axis=1)
            return
        for part, top in self._top(device, rows, k, with_totals=not self._multilabel):
            if self._multilabel:
                yield part, top.classes, self._sigmoid(device, top.logits)
            else:
                z = top.logits.astype(np.float64, copy=False)
                with np.errstate(invalid="ignore"):  # of a row with an infinite logit, NaN
                    yield part, top.classes, np.exp(z - z[:, :1]) / top.totals[:, None]

    def _dtype_with(self, rows: Rows) -> type:
        """Return the dtype of products with rows, and of predictions: float32 at least."""
        return np.float32 if is_narrow(rows) and not self._float64_products else np.float64

    def _is_binary(self) -> bool:
        return self.coef_.shape[0] == 1 and not self._multilabel

    def _params(self, rows: Rows) -> Params:
        """Return the fitted parameters, dense float64 (`sparsify` may have made `coef_` sparse).

        Raises ValueError if they do not fit the rows: they may have been set by hand or come from a file.
        """
        coef = validation.real("coef_", validation.dense(self.coef_))
        intercept = validation.real("intercept_", self.intercept_)
        if coef.ndim != 2 or coef.shape[1] != rows.shape[1] or intercept.shape not in ((), coef.shape[:1]):
            raise ValueError(
                f"coef_ must be (K, {rows.shape[1]}) and intercept_ (K,); got {coef.shape}, {intercept.shape}"
            )
        n_classes = 2 if self._is_binary() else len(coef)
        if len(self.classes_) != n_classes:
            raise ValueError(f"classes_ must be {n_classes} for this coef_; got {len(self.classes_)}")
        if intercept.ndim == 0:
            intercept = np.full(coef.shape[:1], intercept)
        return Params(coef, intercept)

    def _blocks(self, rows: Rows, bytes_per_row: int) -> Iterator[tuple[slice, Rows]]:
        """Yield slices of the rows that take at most PREDICTION_BYTES (or MIN_ROWS), and their rows."""
        n_rows = rows.shape[0]
        step = max(MIN_ROWS, PREDICTION_BYTES // bytes_per_row)
        if n_rows <= step:
            yield slice(0, n_rows), rows
            return
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            yield slice(start, stop), row_slice(rows, start, stop)

    def _logits(self, device: Device, rows: Rows, out: Array | None = None) -> Iterator[tuple[slice, Array]]:
        """Yield slices of the rows and their logits, which are written to `out` if given."""
        params, dtype = self._params(rows), np.dtype(self._dtype_with(rows))
        for part, block in self._blocks(rows, 8 * self.coef_.shape[0]):
            buffer = None if out is None else out[part]
            yield part, device.logits(params, block, self.n_threads, out=buffer, dtype=dtype)

    def _top(
        self, device: Device, rows: Rows, k: int, *, with_totals: bool = False
    ) -> Iterator[tuple[slice, Top]]:
        """Yield slices of the rows and their k largest logits."""
        params, dtype = self._params(rows), np.dtype(self._dtype_with(rows))
        for part, block in self._blocks(rows, 32 * k):  # classes, logits, labels, probabilities
            yield part, device.top(params, block, k, self.n_threads, with_totals=with_totals, dtype=dtype)

    def _best(self, device: Device, rows: Rows) -> Iterator[tuple[slice, Array]]:
        """Yield slices of the rows and the classes of their largest logits, the first of equal ones."""
        n_logits = rows.shape[0] * self.coef_.shape[0]
        if isinstance(rows, Csr) and device is devices.host() and n_logits <= FEW_LOGITS:
            # They are the same logits, to the bit. NaN is left to the search below: it ranks it otherwise.
            ((_, z),) = self._logits(device, rows)
            if not math.isnan(z.max()):
                yield slice(0, len(z)), z.argmax(axis=1)
                return
        for part, top in self._top(device, rows, 1):
            yield part, top.classes[:, 0]

    def _outputs(self, X: MatrixLike, n_columns: int, finish: Callable[[Device, Array], Array]) -> Array:
        """Return finish(device, logits) of all rows, (n, n_columns), as an array of X's library.

        If their shape is that of the result, logits are computed in its memory and finished in place.
        """
        rows = self._rows(X, (), reset=False)
        device = self._device_for(rows)
        with self._work(rows):
            out = devices.empty(rows, (rows.shape[0], n_columns), self._dtype_with(rows))
            in_place = n_columns == self.coef_.shape[0]
            for part, z in self._logits(device, rows, out if in_place else None):
                finished = finish(device, z)
                if not in_place:
                    out[part] = finished
            result: Array = devices.given_back(rows, out)
            return result

    def _probabilities(self, device: Device, z: Array, *, log: bool) -> Array:
        """Return the (log) probabilities of all classes from logits; in place unless the model is binary."""
        if self._is_binary():
            z = np.concatenate((-z, z), axis=1)
        if self._is_binary() or self._multilabel:
            return self._sigmoid(device, z, log=log)
        if self._one_vs_rest:
            # σ(zₖ) / Σ σ(zⱼ) is the softmax of the log σ(z), which do not underflow.
            self._sigmoid(device, z, log=True)
        (device.log_softmax if log else device.softmax)(z, z, self.n_threads)
        return z

    def _sigmoid(self, device: Device, z: Array, *, log: bool = False) -> Array:
        device.sigmoid(z, z, self.n_threads, log=log)
        return z
