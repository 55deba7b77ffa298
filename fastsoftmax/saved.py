"""A fitted estimator as the arrays and the header of a model file, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastsoftmax import model_file, validation
from fastsoftmax.contracts import Record

if TYPE_CHECKING:
    import os

# Objects of the program and choices for its machine, not parts of the model.
LEFT_OUT = ("callbacks", "random_state", "n_threads", "n_jobs", "device", "checkpoint")


def parts_of(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and the header that hold a fitted SoftmaxRegression."""
    parameters = {name: value for name, value in model.get_params().items() if name not in LEFT_OUT}
    if isinstance(model.class_weight, dict):
        labels = np.array(list(model.class_weight))
        weights = [float(weight) for weight in model.class_weight.values()]
        parameters["class_weight"] = [model_file.encode_classes(labels), weights]
    names = getattr(model, "feature_names_in_", None)
    header = {
        "parameters": parameters,
        "classes": model_file.encode_classes(model.classes_),
        "feature_names": None if names is None else [str(name) for name in names],
        "n_iter": int(model.n_iter_[0]),
        "solver": model.solver_,
        "objective": model.objective_,
        "duality_gap": model.duality_gap_,
        "history": [list(record) for record in model.history_],
        "multilabel": model._multilabel,
    }
    arrays = {"coef": validation.dense(model.coef_), "intercept": model.intercept_}
    if hasattr(model, "_precision"):
        arrays["precision"] = model._precision
    return arrays, header


def restored(kind: type, arrays: dict[str, Any], header: dict[str, Any]) -> Any:
    """Return the fitted estimator of class `kind` that `parts_of` took apart."""
    parameters = dict(header["parameters"])
    if isinstance(parameters["class_weight"], list):
        labels, weights = parameters["class_weight"]
        parameters["class_weight"] = dict(zip(model_file.decode_classes(labels).tolist(), weights))
    model: Any = kind(**parameters)
    model.coef_ = arrays["coef"]
    model.intercept_ = arrays["intercept"]
    model.classes_ = model_file.decode_classes(header["classes"])
    model.n_features_in_ = int(model.coef_.shape[1])
    if header["feature_names"] is not None:
        model.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    model.n_iter_ = np.array([header["n_iter"]], dtype=np.int32)
    model.solver_ = header["solver"]
    model.objective_ = header["objective"]
    model.duality_gap_ = header["duality_gap"]
    model.history_ = [Record(*line) for line in header["history"]]
    model._multilabel = bool(header["multilabel"])
    if "precision" in arrays:
        model._precision = arrays["precision"]
    return model


class Persistence:
    """The part of SoftmaxRegression that goes to files and comes from them."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a file (safetensors: arrays and a JSON header, nothing executable).

        The file is replaced whole or not at all. `callbacks`, `checkpoint`, `random_state`, `n_threads` and
        `device` belong to the program and its machine and are not kept.
        """
        check_is_fitted(self)
        model_file.save(path, *parts_of(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the fitted model that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is no model file, is damaged, or was written by a later version.
        """
        arrays, header = model_file.load(path)
        try:
            model: Self = restored(cls, arrays, header)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{str(path)!r} holds no SoftmaxRegression: {error!r}") from error
        return model
