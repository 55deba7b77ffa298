"""What a fitted model says of rows: a bounded number of them at a time."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastsoftmax import devices, validation
from fastsoftmax.contracts import Params, row_slice

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREDICTION_BYTES = 32 * 2**20  # the logits of one block of rows


class Prediction:
    """The predicting half of SoftmaxRegression, from `coef_`, `intercept_` and `classes_`."""

    coef_: Any
    intercept_: NDArray[Any]
    classes_: NDArray[Any]
    device: str
    n_threads: int | None
    _multilabel: bool = False  # of a model whose coefficients were put in by hand

    def _rows(self, X: Any, y: Any, *, reset: bool) -> Any:
        """Return checked rows; the estimator knows how."""
        raise NotImplementedError

    def _by_blocks(self, X: Any, function: Any) -> NDArray[Any]:
        """Return function(logits) of all rows in one array, taking a bounded number of rows at a time."""
        check_is_fitted(self)
        narrow = getattr(X, "dtype", None) == np.float16
        rows = self._rows(X, (), reset=False)
        params = self._params()
        device = devices.get(self.device)
        n_rows = rows.shape[0]
        step = max(256, PREDICTION_BYTES // (8 * len(self.intercept_)))
        out: Any = None
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            piece = function(device.logits(params, row_slice(rows, start, stop), self.n_threads))
            if out is None:
                dtype = np.float16 if narrow and piece.dtype == np.float32 else piece.dtype
                out = np.empty((n_rows, *piece.shape[1:]), dtype)
            out[start:stop] = piece
        return out

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Return the logits: (n, K), or (n,) for two classes; float32 or float64 as products with X are."""
        binary = self._is_binary() if hasattr(self, "classes_") else False
        return self._by_blocks(X, lambda z: z[:, 0] if binary else z)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest class of each row, (n,); of a multi-label model, labels (n, K) of 0 and 1."""
        check_is_fitted(self)
        if self._multilabel:
            return self._by_blocks(X, lambda z: (z > 0).astype(np.int64))
        if self._is_binary():
            return self.classes_[self._by_blocks(X, lambda z: (z[:, 0] > 0).astype(np.intp))]
        return self.classes_[self._by_blocks(X, lambda z: z.argmax(axis=1))]

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probability of each class, (n, K); rows sum to one unless the model is multi-label."""
        return self._by_blocks(X, lambda z: self._probabilities(z, log=False))

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithm of each class's probability, (n, K), from the logits: never log(0)."""
        return self._by_blocks(X, lambda z: self._probabilities(z, log=True))

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
            Labels; of equal probabilities the earlier class comes first.
        proba : ndarray (n, k)
        """
        check_is_fitted(self)
        n_classes = len(self.classes_)
        if not (isinstance(k, numbers.Integral) and 1 <= k <= n_classes):
            raise ValueError(f"k must be an integer from 1 to {n_classes}; got {k!r}")

        def best(z: NDArray[Any]) -> NDArray[Any]:
            # By the logits: probabilities that round to one would lose their order.
            logits = np.concatenate((-z, z), axis=1) if self._is_binary() else z
            order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
            proba = self._probabilities(z, log=False)
            return np.stack([order.astype(proba.dtype), np.take_along_axis(proba, order, axis=1)], axis=1)

        both = self._by_blocks(X, best)
        return self.classes_[both[:, 0].astype(np.intp)], both[:, 1]

    def _is_binary(self) -> bool:
        return self.coef_.shape[0] == 1 and not self._multilabel

    def _params(self) -> Params:
        """Return the fitted parameters as kernels take them, whatever they are kept in (`sparsify`)."""
        both = validation.dense(self.coef_), self.intercept_
        return Params(*(np.ascontiguousarray(each, np.float64) for each in both))

    def _probabilities(self, z: NDArray[Any], *, log: bool) -> NDArray[Any]:
        """Turn logits into (log) probabilities of all classes."""
        device: Any = devices.get(self.device)
        if self._is_binary():
            z = np.concatenate((-z, z), axis=1)
        if self._is_binary() or self._multilabel:
            device.sigmoid(z, z, self.n_threads, log=log)
        else:
            (device.log_softmax if log else device.softmax)(z, z, self.n_threads)
        return z
