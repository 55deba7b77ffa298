"""What a fitted model says of rows: a bounded number of them at a time."""

from __future__ import annotations

import functools
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastsoftmax import devices, validation
from fastsoftmax.contracts import Guest, Params, row_slice
from fastsoftmax.validation import is_narrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Csr, Top

PREDICTION_BYTES = 32 * 2**20  # what is held of one block of rows besides the result
PASSES = 0.5  # what prediction reads X for: no sums are made of the logits
LEAST_ROWS = 64  # of a block: the coefficients are converted anew for each


class Prediction:
    """The predicting half of SoftmaxRegression, from `coef_`, `intercept_` and `classes_`.

    Of rows on a GPU everything that a GPU can hold comes back there, in the kind of array that X is.
    """

    coef_: Any
    intercept_: NDArray[Any]
    classes_: NDArray[Any]
    device: str
    n_threads: int | None
    _multilabel: bool = False  # of a model whose coefficients were put in by hand

    def _rows(self, X: Any, y: Any, *, reset: bool) -> Any:
        """Return checked rows; the estimator knows how."""
        raise NotImplementedError

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return the logits: (n, K), or (n,) for two classes; float32 or float64 as products with X are."""
        check_is_fitted(self)
        logits = self._outputs(X, self.coef_.shape[0], lambda device, z: z)
        return logits[:, 0] if self._is_binary() else logits

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class of each row, (n,); of a multi-label model, labels (n, K) of 0 and 1."""
        check_is_fitted(self)
        rows = self._rows(X, (), reset=False)
        device = self._device_for(rows)
        with devices.work(rows):
            if self._multilabel:
                labels = devices.room(rows, (rows.shape[0], self.coef_.shape[0]), np.int64)
                for here, z in self._logits(device, rows):
                    labels[here] = z > 0
                return devices.given_back(rows, labels)
            out, named = self._room_for_labels(rows, (rows.shape[0],))
            if self._is_binary():
                for here, z in self._logits(device, rows):
                    out[here] = named((z[:, 0] > 0).astype(np.intp))
            else:
                for here, top in self._top(device, rows, 1):
                    out[here] = named(top.classes[:, 0])
            return devices.given_back(rows, out)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, (n, K); rows sum to one unless the model is multi-label."""
        check_is_fitted(self)
        return self._outputs(X, len(self.classes_), functools.partial(self._probabilities, log=False))

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithm of each class's probability, (n, K), from the logits: never log(0)."""
        check_is_fitted(self)
        return self._outputs(X, len(self.classes_), functools.partial(self._probabilities, log=True))

    def predict_top_k(self, X: Any, k: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the k likeliest classes of each row and their probabilities, likeliest first.

        Parameters
        ----------
        X : array_like or SciPy sparse, (n, d)
        k : int
            From 1 to K.

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
        Reads X once, and goes through the logits of a few rows at a time while they are in cache: of the
        others nothing is held.
        """
        check_is_fitted(self)
        n_classes = len(self.classes_)
        if not (isinstance(k, numbers.Integral) and 1 <= k <= n_classes):
            raise ValueError(f"k must be an integer from 1 to {n_classes}; got {k!r}")
        rows = self._rows(X, (), reset=False)
        device = self._device_for(rows)
        shape = rows.shape[0], int(k)
        with devices.work(rows):
            classes, named = self._room_for_labels(rows, shape)
            proba = devices.room(rows, shape, _result_dtype(X, rows))
            best = self._top_of_two if self._is_binary() else self._top_of_many
            for here, index, shares in best(device, rows, int(k)):
                classes[here] = named(index)
                proba[here] = shares
            return devices.given_back(rows, classes), devices.given_back(rows, proba)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the mean accuracy of the predicted labels, on the host."""
        from sklearn.metrics import accuracy_score

        given = ("predictions", self.predict(X)), ("y", y), ("sample_weight", sample_weight)
        predicted, y, weight = (devices.fetched(name, a, self.device)[0] for name, a in given)
        return float(accuracy_score(y, predicted, sample_weight=weight))

    def _device_for(self, rows: Any) -> Any:
        """Return the module that computes the logits of rows."""
        return devices.get(devices.settled(self.device, rows, self.coef_.shape[0], PASSES))

    def _room_for_labels(self, rows: Any, shape: tuple[int, ...]) -> tuple[Any, Callable[[Any], Any]]:
        """Return room for labels, where the rows are if such labels can be there, and what names codes."""
        if not isinstance(rows, Guest):
            return np.empty(shape, self.classes_.dtype), lambda codes: self.classes_[codes]
        device: Any = devices.get("cuda")
        if self.classes_.dtype.kind not in "biuf":
            return np.empty(shape, self.classes_.dtype), lambda codes: self.classes_[device.here(codes)]
        table = device.there(self.classes_)
        return device.empty(shape, table.dtype), lambda codes: table[codes]

    def _top_of_two(
        self, device: Any, rows: Any, k: int
    ) -> Iterator[tuple[slice, NDArray[Any], NDArray[Any]]]:
        """Yield a slice of the rows, their likeliest classes and the probabilities, for the binary model."""
        for here, z in self._logits(device, rows):
            # By the logits: probabilities that round to one would lose their order.
            second = z > 0
            order = np.concatenate((second, ~second), axis=1)[:, :k]
            yield here, order.astype(np.intp), self._sigmoid(device, np.where(order, z, -z))

    def _top_of_many(
        self, device: Any, rows: Any, k: int
    ) -> Iterator[tuple[slice, NDArray[Any], NDArray[Any]]]:
        """Yield a slice of the rows, their likeliest classes and the probabilities."""
        for here, top in self._top(device, rows, k, with_totals=not self._multilabel):
            if self._multilabel:
                yield here, top.classes, self._sigmoid(device, top.logits)
            else:
                z = top.logits.astype(np.float64, copy=False)
                with np.errstate(invalid="ignore"):  # beside an infinite logit, none has a probability
                    yield here, top.classes, np.exp(z - z[:, :1]) / top.totals[:, None]

    def _is_binary(self) -> bool:
        return self.coef_.shape[0] == 1 and not self._multilabel

    def _params(self, rows: Any) -> Params:
        """Return the fitted parameters as kernels take them, whatever they are kept in (`sparsify`).

        They may have been put in by hand or have come from a file: ValueError if they do not fit the rows.
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
        return Params(coef, np.ascontiguousarray(np.broadcast_to(intercept, coef.shape[:1])))

    def _blocks(self, rows: Any, bytes_per_row: int) -> Iterator[tuple[slice, Any]]:
        """Yield slices of the rows that take a bounded number of bytes each, and what they hold."""
        n_rows = rows.shape[0]
        step = max(LEAST_ROWS, PREDICTION_BYTES // bytes_per_row)
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            yield slice(start, stop), row_slice(rows, start, stop)

    def _logits(
        self, device: Any, rows: Any, out: NDArray[Any] | None = None
    ) -> Iterator[tuple[slice, NDArray[Any]]]:
        """Yield a slice of the rows and their logits, which stand in `out` where that is given."""
        params = self._params(rows)
        for here, piece in self._blocks(rows, 8 * self.coef_.shape[0]):
            room = None if out is None else out[here]
            yield here, device.logits(params, piece, self.n_threads, out=room)

    def _top(
        self, device: Any, rows: Any, k: int, *, with_totals: bool = False
    ) -> Iterator[tuple[slice, Top]]:
        """Yield a slice of the rows and their largest logits."""
        params = self._params(rows)
        for here, piece in self._blocks(rows, 32 * k):  # classes, logits, and what is made of them
            yield here, device.top(params, piece, k, self.n_threads, with_totals=with_totals)

    def _outputs(
        self, X: Any, n_columns: int, finish: Callable[[Any, NDArray[Any]], NDArray[Any]]
    ) -> NDArray[Any]:
        """Return finish(device, logits) of all rows, (n, n_columns), of the kind that X is.

        Where shape and dtype let them, logits are computed where the result is to stand, and finished there.
        """
        rows = self._rows(X, (), reset=False)
        device = self._device_for(rows)
        with devices.work(rows):
            out = devices.room(rows, (rows.shape[0], n_columns), _result_dtype(X, rows))
            in_place = n_columns == self.coef_.shape[0] and out.dtype != np.float16
            for here, z in self._logits(device, rows, out if in_place else None):
                finished = finish(device, z)
                if not in_place:
                    out[here] = finished
            result: NDArray[Any] = devices.given_back(rows, out)
            return result

    def _probabilities(self, device: Any, z: NDArray[Any], *, log: bool) -> NDArray[Any]:
        """Turn logits into (log) probabilities of all classes, in place where they are as many."""
        if self._is_binary():
            z = np.concatenate((-z, z), axis=1)
        if self._is_binary() or self._multilabel:
            return self._sigmoid(device, z, log=log)
        (device.log_softmax if log else device.softmax)(z, z, self.n_threads)
        return z

    def _sigmoid(self, device: Any, z: NDArray[Any], *, log: bool = False) -> NDArray[Any]:
        device.sigmoid(z, z, self.n_threads, log=log)
        return z


def _result_dtype(X: Any, rows: NDArray[Any] | Csr) -> type:
    """Return the dtype of what is predicted from X: that of products with its rows, or X's own float16."""
    if not is_narrow(rows):
        return np.float64
    half = rows.dtype == np.float16 if isinstance(rows, Guest) else getattr(X, "dtype", None) == np.float16
    return np.float16 if half else np.float32
