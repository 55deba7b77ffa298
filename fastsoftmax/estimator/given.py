"""The arguments of a fit: rows validated, labels and weights brought to the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import validate_data

from fastsoftmax import devices
from fastsoftmax.data import dask, validation
from fastsoftmax.data.blocks.row_set import RowSet

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike, Rows


class GivenRows:
    """The mixin of estimators that take rows: their validation, and the attributes that it sets."""

    device: str
    n_features_in_: int

    def _rows(self, X: MatrixLike, y: object, *, reset: bool) -> Rows:
        """Return validated rows; with `reset`, also set the number and the names of the features."""
        if isinstance(X, RowSet):
            raise TypeError(
                "rows of open_rows and rows_from go to fit, fit_path, score and the predict methods of "
                "SoftmaxRegression; this takes rows in memory"
            )
        if dask.is_dask(X):
            raise TypeError(
                "collections of Dask go to fit, fit_path, score and the predict methods of "
                "SoftmaxRegression; this takes rows in memory"
            )
        # y is passed on only if it is None, for scikit-learn's message.
        missing: dict[str, None] = {} if y is not None else {"y": None}
        if devices.elsewhere(X) is not None:
            rows = validation.design_matrix(X)
            validate_data(self, X, **missing, reset=reset, skip_check_array=True)
            return rows
        X = validation.of_others("X", X)
        if y is not None and not hasattr(self, "feature_names_in_"):
            n_features = None if reset else getattr(self, "n_features_in_", None)
            if (reset or n_features) and validation.is_plain(X, n_features):
                if reset:
                    self.n_features_in_ = X.shape[1]
                return validation.design_matrix(X, checked=True)
        with validation.converting(X):
            finite = not validation.is_half(X)
            checked = validate_data(
                self, X, **missing, **validation.CHECKS, reset=reset, ensure_all_finite=finite
            )
            return validation.design_matrix(checked, checked=True)

    def _given(
        self, X: MatrixLike, y: ArrayLike | None, sample_weight: ArrayLike | None, *, reset: bool
    ) -> tuple[Rows, Any, Any]:
        """Return validated rows, and labels and weights on the host, not yet validated."""
        rows = self._rows(X, y, reset=reset)
        y, rows = devices.fetched("y", y, self.device, rows)
        sample_weight, rows = devices.fetched("sample_weight", sample_weight, self.device, rows)
        return rows, y, sample_weight


def of_the_host(X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
    """Return arguments with NumPy's arrays for those of other libraries: splitters and scorers take them."""
    return (
        validation.of_others("X", X),
        validation.of_others("y", y),
        validation.of_others("sample_weight", sample_weight),
    )
