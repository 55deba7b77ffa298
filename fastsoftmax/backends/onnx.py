"""Fitted models as ONNX graphs: the linear map, its probabilities and labels, in float64.

Not `ai.onnx.ml.LinearClassifier`: it computes in float32, which changes labels where columns have large
means, and gives [1 − z, z] for two classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from fastsoftmax.contracts import Array

# What runtimes of 2022 read, too: no operator here has changed since.
OPSET = 17
IR_VERSION = 8

TYPES = {np.dtype(np.float64): onnx.TensorProto.DOUBLE, np.dtype(np.float32): onnx.TensorProto.FLOAT}


class LinearModel(NamedTuple):
    """What a graph is made of: coefficients (K, d), intercepts (K,), and what becomes of the logits."""

    coef: Array
    intercept: Array
    classes: Array
    """(K,), or (2,) where there is one row of coefficients."""
    kind: str
    """"softmax", "binary" (one logit, of the second class), "multilabel" or "ovr"."""


class Builder(Protocol):
    """Where nodes go: a graph of our own, or another converter's."""

    def constant(self, name: str, array: Array) -> str:
        """Add a constant; return its name."""

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; return the output's name."""


class Graph:
    """Nodes and constants of a graph of our own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, array: Array) -> str:
        """Add a constant; return its name."""
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; return the output's name."""
        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output


def to_onnx(
    model: LinearModel, dtype: Any = np.float64, feature_names: list[str] | None = None
) -> onnx.ModelProto:
    """Return a model with the input "X" (n, d) and the outputs "label", "probabilities" and "logits".

    Parameters
    ----------
    model : LinearModel
    dtype : float64 or float32
        Of the input; all else is float64.
    feature_names : list of str, optional
        Kept as the metadata "feature_names", a line each.

    Raises
    ------
    TypeError
        Another dtype, or classes that ONNX has no type for.
    """
    element = TYPES.get(np.dtype(dtype))
    if element is None:
        raise TypeError(f"dtype must be float64 or float32; got {np.dtype(dtype)}")
    graph = Graph()
    X = graph.node("Cast", "X", to=onnx.TensorProto.DOUBLE) if element != onnx.TensorProto.DOUBLE else "X"
    add_model(graph, model, X, label="label", probabilities="probabilities", logits="logits")
    n_outputs, n_features = model.coef.shape
    n_classes = 2 if model.kind == "binary" else n_outputs
    is_multilabel = model.kind == "multilabel"
    label_type = onnx.TensorProto.INT64 if is_multilabel else _tensor(model.classes).data_type
    double = onnx.TensorProto.DOUBLE
    proto = helper.make_graph(
        graph.nodes,
        "softmax_regression",
        [helper.make_tensor_value_info("X", element, ["n", n_features])],
        [
            helper.make_tensor_value_info("label", label_type, ["n", n_outputs] if is_multilabel else ["n"]),
            helper.make_tensor_value_info("probabilities", double, ["n", n_classes]),
            helper.make_tensor_value_info("logits", double, ["n", n_outputs]),
        ],
        graph.constants,
    )
    made = helper.make_model(
        proto,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastsoftmax",
    )
    if feature_names is not None:
        helper.set_model_props(made, {"feature_names": "\n".join(feature_names)})
    onnx.checker.check_model(made)
    return made


def add_model(
    graph: Builder, model: LinearModel, X: str, *, label: str, probabilities: str, logits: str | None = None
) -> None:
    """Add the nodes from float64 rows `X` to outputs of these names."""
    weights = graph.constant("coef", np.ascontiguousarray(model.coef.T, dtype=np.float64))
    intercept = graph.constant("intercept", model.intercept.astype(np.float64))
    z = graph.node("Add", graph.node("MatMul", X, weights), intercept, output=logits)
    if model.kind in ("binary", "multilabel"):
        is_above = graph.node("Greater", z, graph.constant("zero", np.zeros(1)))
        chosen = {"output": label} if model.kind == "multilabel" else {}
        code = graph.node("Cast", is_above, to=onnx.TensorProto.INT64, **chosen)
    if model.kind == "multilabel":
        _add_sigmoid(graph, z, probabilities)
        return
    if model.kind == "binary":
        # Not 1 − p, which has no digits left where p is close to 1.
        both = graph.node("Concat", graph.node("Neg", z), z, axis=1)
        _add_sigmoid(graph, both, probabilities)
        code = graph.node("Squeeze", code, graph.constant("column", np.array([1])))
    else:
        code = graph.node("ArgMax", z, axis=1, keepdims=0)
        shares = {"output": probabilities} if model.kind == "softmax" else {}
        of_logits = graph.node("Softmax", z, axis=1, **shares)
    if model.kind == "ovr":
        # Where all sigmoids underflow to zero: the limit of their shares.
        sigmoids = _add_sigmoid(graph, z)
        total = graph.node("ReduceSum", sigmoids, graph.constant("classes_axis", np.array([1])), keepdims=1)
        is_lost = graph.node("Equal", total, graph.constant("nothing", np.zeros(1)))
        graph.node("Where", is_lost, of_logits, graph.node("Div", sigmoids, total), output=probabilities)
    graph.node("Gather", graph.constant("classes", labels_of(model.classes)), code, output=label)


def _add_sigmoid(graph: Builder, z: str, output: str | None = None) -> str:
    """Add e^min(z, 0) / (1 + e^−|z|); return its name.

    Not the operator Sigmoid: of float64, too, ONNX Runtime's has an absolute error of 1e-16, and is zero
    below.
    """
    numerator = graph.node("Exp", graph.node("Min", z, graph.constant("least", np.zeros(1))))
    rest = graph.node("Exp", graph.node("Neg", graph.node("Abs", z)))
    denominator = graph.node("Add", rest, graph.constant("one", np.ones(1)))
    return graph.node("Div", numerator, denominator, output=output)


def labels_of(classes: Array) -> Array:
    """Return classes as an array of a type that ONNX has: int64, bool, float64 or text."""
    kind = classes.dtype.kind
    if kind in "iu":
        if kind == "u" and classes.max() > np.iinfo(np.int64).max:
            raise TypeError("ONNX labels are 64-bit integers; got classes above that")
        return classes.astype(np.int64)
    if kind in "bf":
        return classes if kind == "b" else classes.astype(np.float64)
    if kind in "UTO" and all(isinstance(label, str) for label in classes.tolist()):
        return classes.astype(object)
    raise TypeError(f"ONNX has no type for classes of dtype {classes.dtype}: take numbers or text")


def _tensor(classes: Array) -> onnx.TensorProto:
    """Return classes as a tensor."""
    return numpy_helper.from_array(labels_of(classes), "classes")
