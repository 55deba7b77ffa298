#!/usr/bin/env bash
# ONNX Runtime's Sigmoid of float64 has float64's absolute error, not its relative one: below 1e-16 it is 0.
#
# onnxruntime 1.32.0, onnx 1.23.2, NumPy 2.4.6, Python 3.11; Linux x86-64, CPU.
# Seen: Sigmoid of −40 is 0.0 where it should be 4.2e-18, and of −30 it has three right digits; Exp of the same
# numbers is right to the last digit or two.
# A guess that is wrong: that an operator that takes float64 computes with its precision. A small probability of an
# exported model is then 0, and its logarithm −∞. e^min(z, 0) / (1 + e^−|z|) from Exp, Min, Abs and Div keeps all
# digits.
#
# Prints: Sigmoid 0, composed right. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
cat > "$folder/sigmoid.py" <<'CODE'
import math

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


def run(z, nodes, constants=()):
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n"]) for name in "zy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"z": z})[0]


z = np.array([-40.0, -30.0, -1.0])
exact = np.array([1.0 / (1.0 + math.exp(-v)) for v in z])
node = helper.make_node
built_in = run(z, [node("Sigmoid", ["z"], ["y"])])
composed = run(
    z,
    [
        node("Min", ["z", "zero"], ["least"]),
        node("Exp", ["least"], ["e"]),
        node("Abs", ["z"], ["size"]),
        node("Neg", ["size"], ["minus"]),
        node("Exp", ["minus"], ["rest"]),
        node("Add", ["rest", "one"], ["sum"]),
        node("Div", ["e", "sum"], ["y"]),
    ],
    [numpy_helper.from_array(np.array(number), name) for name, number in (("zero", 0.0), ("one", 1.0))],
)
right = bool((abs(composed / exact - 1.0) < 1e-15).all())
print(f"Sigmoid {built_in[0]:g}, composed {'right' if right else 'wrong'}")
assert abs(built_in[1] / exact[1] - 1.0) > 1e-4
CODE
said=$(cd "$folder" && "$folder/env/bin/python" sigmoid.py)
echo "$said"
[ "$said" = "Sigmoid 0, composed right" ]
