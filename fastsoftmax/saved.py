"""A fitted estimator as the arrays and the header of a model file, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastsoftmax import model_file, validation
from fastsoftmax.contracts import Record

# Objects of the program and choices for its machine, not parts of the model.
LEFT_OUT = ("callbacks", "random_state", "n_threads", "n_jobs", "device")


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
