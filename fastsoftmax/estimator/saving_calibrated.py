"""Saving and loading of a calibrated model: the map of logits, and the model inside, in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from fastsoftmax.estimator import saving
from fastsoftmax.estimator.softmax_regression import SoftmaxRegression
from fastsoftmax.persistence import container

if TYPE_CHECKING:
    import os

KIND = "CalibratedClassifier"
INSIDE = "model."  # before the names of the arrays of the model inside


def parts_of(calibrated: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and the JSON header of a fitted CalibratedClassifier.

    Raises TypeError unless the classifier inside is a SoftmaxRegression.
    """
    model = calibrated.estimator
    frozen = isinstance(model, FrozenEstimator)
    model = model.estimator if frozen else model
    model = getattr(model, "best_estimator_", model)  # of a search, the model that predicts
    if not isinstance(model, SoftmaxRegression):
        raise TypeError(
            f"a file holds a calibrated SoftmaxRegression; the classifier inside is a {type(model).__name__}"
        )
    inside, header = saving.parts_of(model)
    arrays = {INSIDE + name: array for name, array in inside.items()}
    arrays |= {"coef": calibrated.coef_, "intercept": calibrated.intercept_}
    parameters = {"method": calibrated.method, "C": float(calibrated.C)}
    return arrays, {"kind": KIND, "parameters": parameters, "frozen": frozen, "model": header}


def restored(kind: type, arrays: dict[str, Any], header: dict[str, Any]) -> Any:
    """Return the fitted classifier of class `kind` from the result of `parts_of`.

    Raises as `saving.restored` if the parts are inconsistent: the file may be untrusted.
    """
    inside = {name.removeprefix(INSIDE): array for name, array in arrays.items() if name.startswith(INSIDE)}
    model = saving.restored(SoftmaxRegression, inside, header["model"])
    method, C = header["parameters"]["method"], float(header["parameters"]["C"])
    calibrated: Any = kind(FrozenEstimator(model) if header["frozen"] else model, method=method, C=C)
    calibrated.coef_, calibrated.intercept_ = arrays["coef"], arrays["intercept"]
    calibrated.classes_ = model.classes_
    n_outputs = len(model.coef_)
    if calibrated.coef_.shape != (n_outputs, n_outputs) or calibrated.intercept_.shape != (n_outputs,):
        raise ValueError(f"a model of {n_outputs} logits, and a map of another number")
    if method == "temperature":
        slope = float(calibrated.coef_[0, 0])
        if not (slope > 0.0 and np.isfinite(slope)):
            raise ValueError(f"{slope} is no inverse temperature")
        calibrated.temperature_ = 1.0 / slope
    for name in ("n_features_in_", "feature_names_in_"):
        if hasattr(model, name):
            setattr(calibrated, name, getattr(model, name))
    return calibrated


class CalibratedPersistence:
    """The mixin of CalibratedClassifier with `save` and `load`."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map of logits and the SoftmaxRegression inside to one file.

        The format, and what of the model is not saved, are those of `SoftmaxRegression.save`.
        `fastsoftmax.load` reads it.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it is not fitted.
        TypeError
            If the classifier inside is of another library: such a one is pickled.
        FileNotFoundError, ValueError, OSError
            If the file cannot be written (`fastsoftmax.persistence.container.replacing`).
        """
        check_is_fitted(self)
        container.save(path, *parts_of(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the calibrated model in a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not such a file, is damaged, or was written by a later version.
        """
        arrays, header = container.load(path)
        if saving.kind_in(header) != KIND:
            raise ValueError(f"{str(path)!r} holds no {KIND}: read it with `fastsoftmax.load`")
        with saving.inconsistent(path, KIND):
            calibrated: Self = restored(cls, arrays, header)
        return calibrated
