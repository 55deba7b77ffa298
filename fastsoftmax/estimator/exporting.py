"""Fitted models for other programs: ONNX graphs and tables of coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastsoftmax.data import validation

if TYPE_CHECKING:
    import pandas as pd
    from onnx import ModelProto


class Export:
    """The mixin of SoftmaxRegression with exports of `coef_`, `intercept_` and `classes_`."""

    coef_: Any
    intercept_: Any
    classes_: Any
    _multilabel: bool
    _one_vs_rest: bool

    def to_onnx(self, *, dtype: Any = np.float64) -> ModelProto:
        """Return the model as an ONNX graph: the extra `onnx`.

        Parameters
        ----------
        dtype : {float64, float32}
            Of the graph's input "X" (n, d). Everything inside is float64.

        Returns
        -------
        onnx.ModelProto
            With the outputs "label" (n,) (n, K for multi-label), "probabilities" (n, K) and "logits" (n, K)
            or (n, 1); opset 17. `SerializeToString()` is what runtimes load.

        Raises
        ------
        NotFittedError
            Before `fit`.
        TypeError
            Another dtype, or classes that ONNX has no type for (bytes, objects that are no text).
        ModuleNotFoundError
            Without the package onnx.
        """
        check_is_fitted(self)
        from fastsoftmax.backends import onnx

        return onnx.to_onnx(linear_model_of(self), dtype, _names_of(self))

    def onnx_parser(self) -> Any:
        """Return what skl2onnx asks for: the outputs' names and types."""
        return self._to_skl2onnx("parser")

    def onnx_shape_calculator(self) -> Any:
        """Return what skl2onnx asks for: a function that sets the outputs' types."""
        return self._to_skl2onnx("shape_calculator")

    def onnx_converter(self) -> Any:
        """Return what skl2onnx asks for: a function that adds the nodes."""
        return self._to_skl2onnx("converter")

    def _to_skl2onnx(self, part: str) -> Any:
        """Return a part of the converter of this model."""
        check_is_fitted(self)
        from fastsoftmax.backends import skl2onnx

        return getattr(skl2onnx, part)(linear_model_of(self))

    def to_frame(self) -> pd.DataFrame:
        """Return the coefficients as a table (needs pandas): a row for a class, a column for a feature.

        Returns
        -------
        DataFrame (K, d + 1), or (1, d + 1) for two classes
            Of the dtype of `coef_`. The index, "class", holds `classes_` (the second class of two), columns
            the names of the features ("x0", "x1", … where there are none), and last "intercept".

        Raises
        ------
        NotFittedError
            Before `fit`.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from fastsoftmax import SoftmaxRegression
        >>> X, y = load_iris(return_X_y=True, as_frame=True)
        >>> model = SoftmaxRegression().fit(X, y)
        >>> model.to_frame().round(1).iloc[:, [2, 4]]
               petal length (cm)  intercept
        class
        0                   -2.3        9.0
        1                   -0.2        2.2
        2                    2.6      -11.2
        """
        check_is_fitted(self)
        import pandas as pd

        coef = validation.dense(self.coef_)
        names = _names_of(self) or [f"x{j}" for j in range(coef.shape[1])]
        index = pd.Index(self.classes_[-len(coef) :], name="class")
        frame = pd.DataFrame(coef, index=index, columns=names, copy=True)
        frame.insert(coef.shape[1], "intercept", self.intercept_, allow_duplicates=True)
        return frame


def linear_model_of(model: Any) -> Any:
    """Return what an ONNX graph of a fitted model is made of."""
    from fastsoftmax.backends.onnx import LinearModel

    coef = validation.dense(model.coef_)
    kind = "ovr" if model._one_vs_rest else "softmax"
    if model._multilabel:
        kind = "multilabel"
    elif len(coef) == 1:
        kind = "binary"
    return LinearModel(coef, np.asarray(model.intercept_), model.classes_, kind)


def _names_of(model: Any) -> list[str] | None:
    """Return the features' names, or None where they have none."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]
