"""What skl2onnx asks a model for, so that pipelines that end in one can be exported.

It calls three methods of an object, where it has them, that return the functions made here. It then adds no
ZipMap, which takes float32 only, and which runtimes refuse behind float64 probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnx import TensorProto, numpy_helper
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    Int64TensorType,
    StringTensorType,
)

from fastsoftmax.backends.onnx import LinearModel, add_model, labels_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastsoftmax.contracts import Array

_TYPES = {"i": Int64TensorType, "b": BooleanTensorType, "f": DoubleTensorType, "O": StringTensorType}


class _Container:
    """skl2onnx's scope and container as a builder of `add_model`."""

    def __init__(self, scope: Any, container: Any) -> None:
        self._scope, self._container = scope, container

    def constant(self, name: str, array: Array) -> str:
        """Add a constant; return its name."""
        name = self._scope.get_unique_variable_name(name)
        tensor = numpy_helper.from_array(array, name)
        content = array.ravel().tolist()
        self._container.add_initializer(name, tensor.data_type, array.shape, content)
        return name

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; return the output's name."""
        output = output or self._scope.get_unique_variable_name(operator.lower())
        name = self._scope.get_unique_operator_name(operator)
        self._container.add_node(operator, list(inputs), [output], name=name, **attributes)
        return output


def parser(model: LinearModel) -> Callable[..., list[tuple[str, Any]]]:
    """Return the function that says which outputs there are: labels, and float64 probabilities."""
    is_multilabel = model.kind == "multilabel"
    n_outputs = len(model.coef)
    label = Int64TensorType if is_multilabel else _TYPES[labels_of(model.classes).dtype.kind]

    def parse(scope: Any = None, inputs: Any = None) -> list[tuple[str, Any]]:
        return [
            ("label", label([None, n_outputs] if is_multilabel else [None])),
            ("probabilities", DoubleTensorType([None, 2 if model.kind == "binary" else n_outputs])),
        ]

    return parse


def shape_calculator(model: LinearModel) -> Callable[[Any], None]:
    """Return the function that gives an operator's outputs the types of `parser`."""

    def calculate(operator: Any) -> None:
        for output, (_, output_type) in zip(operator.outputs, parser(model)()):
            output.type = output_type

    return calculate


def converter(model: LinearModel) -> Callable[[Any, Any, Any], None]:
    """Return the function that adds the model's nodes."""

    def convert(scope: Any, operator: Any, container: Any) -> None:
        builder = _Container(scope, container)
        X = builder.node("Cast", operator.inputs[0].full_name, to=TensorProto.DOUBLE)
        label, probabilities = (output.full_name for output in operator.outputs)
        add_model(builder, model, X, label=label, probabilities=probabilities)

    return convert
