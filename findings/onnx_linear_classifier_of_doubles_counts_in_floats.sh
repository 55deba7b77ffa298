#!/usr/bin/env bash
# ONNX's LinearClassifier takes float64 rows, computes in float32, and gives another label than the model.
#
# onnx 1.23.2, onnxruntime 1.32.0, NumPy 2.4.2, Python 3.11.
# Seen: two classes whose scores are the two features, a row (1e8, 1e8 + 1) of float64. The second class is the larger by one;
# the operator's scores are equal, and its label is the first class. MatMul and ArgMax on the same row give the second.
# A guess that is wrong: that an input of type tensor(double), which the operator's specification allows, is computed as such.
# A linear model that was fitted in float64, on columns that are far from zero, changes labels by its export.
#
# Prints both labels. Fails if they agree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.2
"$folder/env/bin/python" - <<'CODE'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

row = np.array([[1e8, 1e8 + 1]])
x = helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 2])
label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 1)]
classifier = helper.make_node(
    "LinearClassifier",
    ["x"],
    ["label", "scores"],
    domain="ai.onnx.ml",
    coefficients=[1.0, 0.0, 0.0, 1.0],
    intercepts=[0.0, 0.0],
    classlabels_ints=[0, 1],
)
identity = numpy_helper.from_array(np.eye(2), "identity")
plain = [
    helper.make_node("MatMul", ["x", "identity"], ["z"]),
    helper.make_node("ArgMax", ["z"], ["label"], axis=1, keepdims=0),
]


def run(nodes, weights=()):
    graph = helper.make_graph(nodes, "graph", [x], [label], initializer=list(weights))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return int(session.run(["label"], {"x": row})[0][0])


by_operator, by_product = run([classifier]), run(plain, [identity])
print(f"LinearClassifier: class {by_operator}; MatMul and ArgMax: class {by_product}")
assert (by_operator, by_product) == (0, 1)
CODE
