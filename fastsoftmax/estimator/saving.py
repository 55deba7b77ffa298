"""Saving and loading of a fitted estimator: its arrays and the header of a model file."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastsoftmax.contracts import Record
from fastsoftmax.data import validation
from fastsoftmax.persistence import container

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

# What a file holds where its header has no "kind".
ONE_MODEL = "SoftmaxRegression"

# Not part of the model: objects of the program, and choices for its machine.
LEFT_OUT = (
    "callbacks", "random_state", "n_threads", "n_jobs", "device", "checkpoint", "keep_on_interrupt",
    "max_seconds",
)  # fmt: skip


def parts_of(model: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays and the JSON header of a fitted SoftmaxRegression."""
    parameters = {name: value for name, value in model.get_params().items() if name not in LEFT_OUT}
    if model.penalty_weights is not None:
        parameters["penalty_weights"] = validation.real("penalty_weights", model.penalty_weights).tolist()
    if isinstance(model.class_weight, dict):
        labels = np.array(list(model.class_weight))
        weights = [float(weight) for weight in model.class_weight.values()]
        parameters["class_weight"] = [container.encode_classes(labels), weights]
    names = getattr(model, "feature_names_in_", None)
    header = {
        "parameters": parameters,
        "classes": container.encode_classes(model.classes_),
        "feature_names": None if names is None else [str(name) for name in names],
        "n_iter": int(model.n_iter_[0]),
        "solver": model.solver_,
        "device": model.device_,
        "kernels": model.kernels_,
        "objective": model.objective_,
        "duality_gap": model.duality_gap_,
        "history": [list(record) for record in model.history_],
        "multilabel": model._multilabel,
        "one_vs_rest": model._one_vs_rest,
        "float64_products": model._float64_products,
        "with_offset": model._with_offset,
    }
    if table_of(model):
        header["table"] = table_of(model)
    arrays = {"coef": validation.dense(model.coef_), "intercept": model.intercept_}
    if hasattr(model, "_precision"):
        arrays["precision"] = model._precision
    return arrays, header


def table_of(model: Any, table: Any = None) -> dict[str, Any]:
    """Return what is known of the table that a model was fitted on: by default what the model has kept.

    That is "target" (the label column), "left_out" (places of columns that were no features, in a file
    without names) and "index_base" (the first index of an svmlight file). ValueError for anything else under
    these names.
    """
    known = (getattr(model, "_table", None) if table is None else table) or {}
    target, left_out, base = (known.get(key) for key in ("target", "left_out", "index_base"))
    left_out = [] if left_out is None else left_out
    whole = isinstance(left_out, list) and all(type(place) is int and place >= 0 for place in left_out)
    if not whole or not isinstance(target, str | None) or base not in (None, 0, 1):
        raise ValueError("what is said of the table is not what is kept of one")
    facts = {"target": target, "left_out": left_out, "index_base": None if base is None else int(base)}
    return facts if known else {}


def restored(kind: type, arrays: dict[str, Any], header: dict[str, Any]) -> Any:
    """Return the fitted estimator of class `kind` from the result of `parts_of`.

    Raises LookupError, TypeError, ValueError, AttributeError or OverflowError if the parts are inconsistent:
    the file may be untrusted.
    """
    # An untrusted file must not set what belongs to the program: `checkpoint` is a path that is written to.
    parameters = {name: value for name, value in header["parameters"].items() if name not in LEFT_OUT}
    if isinstance(parameters["class_weight"], list):
        labels, weights = parameters["class_weight"]
        parameters["class_weight"] = dict(zip(container.decode_classes(labels).tolist(), weights))
    model: Any = kind(**parameters)
    model.coef_ = arrays["coef"]
    model.intercept_ = arrays["intercept"]
    model.classes_ = container.decode_classes(header["classes"])
    model._multilabel = bool(header["multilabel"])
    model._one_vs_rest = bool(header.get("one_vs_rest", False))  # files of older versions have none
    model._float64_products = bool(header.get("float64_products", False))  # files of older versions have none
    model._with_offset = bool(header.get("with_offset", False))  # files of older versions have none
    n_outputs, model.n_features_in_ = map(int, model.coef_.shape)
    n_classes = 2 if n_outputs == 1 and not model._multilabel else n_outputs
    if model.intercept_.shape != (n_outputs,) or model.classes_.shape != (n_classes,):
        raise ValueError(f"{n_outputs} rows of coefficients, and intercepts or classes of another number")
    if header["feature_names"] is not None:
        model.feature_names_in_ = np.array([str(name) for name in header["feature_names"]], dtype=object)
        if len(model.feature_names_in_) != model.n_features_in_:
            raise ValueError(f"{len(model.feature_names_in_)} names of {model.n_features_in_} features")
    model._table = table_of(model, header.get("table"))  # an older file has none
    model.n_iter_ = np.array([header["n_iter"]], dtype=np.int32)
    model.solver_ = header["solver"]
    model.device_ = header.get("device", "cpu")  # files of older versions have none
    model.kernels_ = str(header.get("kernels", "numba"))
    model.objective_ = header["objective"]
    model.duality_gap_ = header["duality_gap"]
    model.history_ = [Record(*line) for line in header["history"]]
    if "precision" in arrays:
        model._precision = arrays["precision"]
        if model._precision.ndim != 1:
            raise ValueError("the precision is no vector")
    return model


def kind_in(header: Any) -> Any:
    """Return what a file says that it holds; a header may be of any kind itself, if the file is hostile."""
    return header.get("kind", ONE_MODEL) if isinstance(header, dict) else ONE_MODEL


@contextlib.contextmanager
def inconsistent(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Turn the errors of parts that do not fit together into a ValueError that names the file."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = " ".join(repr(error).split())
        raise ValueError(f"{str(path)!r} holds no {kind}: {reason}") from error


class Persistence:
    """The mixin of SoftmaxRegression with `save` and `load`."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a file (safetensors: arrays and a JSON header, nothing executable).

        The file is replaced whole or not at all. `callbacks`, `checkpoint`, `keep_on_interrupt`,
        `max_seconds`, `random_state`, `n_threads`, `n_jobs` and `device` belong to the program and its
        machine, and are not saved.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the model is not fitted.
        FileNotFoundError, ValueError, OSError
            If the file cannot be written (`fastsoftmax.persistence.container.replacing`).
        """
        check_is_fitted(self)
        container.save(path, *parts_of(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the fitted model in a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not a model file, is damaged, or was written by a later version.
        """
        arrays, header = container.load(path)
        if kind_in(header) != ONE_MODEL:
            raise ValueError(f"{str(path)!r} holds no SoftmaxRegression: read it with `fastsoftmax.load`")
        with inconsistent(path, ONE_MODEL):
            model: Self = restored(cls, arrays, header)
        return model
