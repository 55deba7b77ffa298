"""Law: what is wrong is said in one line that names the argument; kind, shape and value are checked."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.sparse as sp

import fastsoftmax
from fastsoftmax import SoftmaxObjective, SoftmaxRegression

N, D, K = 12, 4, 3
RNG = np.random.default_rng(12)
X = RNG.normal(size=(N, D))
Y = np.arange(N) % K
LOGITS = RNG.normal(size=(N, K))
WEIGHT = RNG.normal(size=(K, D))
SOFT = np.full((N, K), 1 / K)


def put(array, value, at=(1, 2)):
    """A copy with one element replaced."""
    array = np.array(array, dtype=float)
    array[at] = value
    return array


def raises(error, name, call):
    """Fail unless the call raises that kind of error, in one line, with the argument's name as a word."""
    with pytest.raises(error, match=rf"(?<![A-Za-z]){name}(?![A-Za-z])") as caught:
        call()
    text = str(caught.value)
    assert text
    assert "\n" not in text.strip(), f"more than a line: {text}"


CROSS_ENTROPY = {
    # what is wrong: (error, argument named, arguments, options)
    "logits of three dimensions": (ValueError, "logits", (np.zeros((2, 3, 4)), np.zeros(2, int)), {}),
    "logits without dimension": (ValueError, "logits", (np.float64(1), 0), {}),
    "logits without classes": (ValueError, "logits", (np.zeros((3, 0)), np.zeros(3, int)), {}),
    "logits of strings": (TypeError, "logits", (np.array([["a", "b"]]), [0]), {}),
    "target too short": (ValueError, "target", (LOGITS, Y[:-1]), {}),
    "target of another shape": (ValueError, "target", (LOGITS, SOFT[:, :-1]), {}),
    "target too large": (ValueError, "target", (LOGITS, np.where(Y == 1, K, Y)), {}),
    "target negative": (ValueError, "target", (LOGITS, np.where(Y == 1, -1, Y)), {}),
    "target of fractions": (TypeError, "target", (LOGITS, Y + 0.5), {}),
    "target of strings": (TypeError, "target", (LOGITS, Y.astype(str)), {}),
    "class_weight too long": (ValueError, "class_weight", (LOGITS, Y), {"class_weight": np.ones(K + 1)}),
    "sample_weight too short": (ValueError, "sample_weight", (LOGITS, Y), {"sample_weight": np.ones(N - 1)}),
    "sample_weight of two dimensions": (ValueError, "sample_weight", (LOGITS, Y), {"sample_weight": SOFT}),
    "label_smoothing above one": (ValueError, "label_smoothing", (LOGITS, Y), {"label_smoothing": 1.5}),
    "label_smoothing below zero": (ValueError, "label_smoothing", (LOGITS, Y), {"label_smoothing": -0.1}),
    "label_smoothing not a number": (ValueError, "label_smoothing", (LOGITS, Y), {"label_smoothing": np.nan}),
    "reduction unknown": (ValueError, "reduction", (LOGITS, Y), {"reduction": "average"}),
    "ignore_index with soft targets": (ValueError, "ignore_index", (LOGITS, SOFT), {"ignore_index": 1}),
    "ignore_index of a fraction": (TypeError, "ignore_index", (LOGITS, Y), {"ignore_index": 1.5}),
    "softcap of zero": (ValueError, "softcap", (LOGITS, Y), {"softcap": 0.0}),
    "softcap negative": (ValueError, "softcap", (LOGITS, Y), {"softcap": -3.0}),
}


@pytest.mark.parametrize("case", CROSS_ENTROPY)
@pytest.mark.parametrize("name", ["cross_entropy", "cross_entropy_value_and_grad"])
def test_cross_entropy(name, case):
    error, argument, arguments, options = CROSS_ENTROPY[case]
    raises(error, argument, lambda: getattr(fastsoftmax, name)(*arguments, **options))


def test_out_of_the_wrong_shape_or_kind():
    for out, error in ((np.empty((N, K + 1)), ValueError), ([0.0], TypeError)):
        raises(error, "out", lambda out=out: fastsoftmax.cross_entropy_value_and_grad(LOGITS, Y, out=out))


SIGMOID = {
    "target of indices": (ValueError, "target", (LOGITS, Y), {}),
    "target above one": (ValueError, "target", (LOGITS, put(SOFT, 1.5)), {}),
    "target below zero": (ValueError, "target", (LOGITS, put(SOFT, -0.5)), {}),
    "class_weight too long": (ValueError, "class_weight", (LOGITS, SOFT), {"class_weight": np.ones(K + 1)}),
    "reduction unknown": (ValueError, "reduction", (LOGITS, SOFT), {"reduction": "average"}),
}


@pytest.mark.parametrize("case", SIGMOID)
@pytest.mark.parametrize("name", ["sigmoid_cross_entropy", "sigmoid_cross_entropy_value_and_grad"])
def test_sigmoid_cross_entropy(name, case):
    error, argument, arguments, options = SIGMOID[case]
    raises(error, argument, lambda: getattr(fastsoftmax, name)(*arguments, **options))


LINEAR = {
    "X of one dimension": (ValueError, "X", (X[0], WEIGHT, Y), {}),
    "weight of another width": (ValueError, "weight", (X, WEIGHT[:, :-1], Y), {}),
    "weight of one dimension": (ValueError, "weight", (X, WEIGHT[0], Y), {}),
    "bias too long": (ValueError, "bias", (X, WEIGHT, Y, np.ones(K + 1)), {}),
    "target too large": (ValueError, "target", (X, WEIGHT, Y + 1), {}),
    "target too short": (ValueError, "target", (X, WEIGHT, Y[:-1]), {}),
    "target too short, sparse": (ValueError, "target", (sp.csr_array(X), WEIGHT, Y[:-1]), {}),
    "target too large, sparse": (ValueError, "target", (sp.csr_array(X), WEIGHT, Y + 1), {}),
    "reduction unknown": (ValueError, "reduction", (X, WEIGHT, Y), {"reduction": None}),
    "X of strings": ((TypeError, ValueError), "X", (X.astype(str), WEIGHT, Y), {}),
}


@pytest.mark.parametrize("case", LINEAR)
@pytest.mark.parametrize("name", ["linear_cross_entropy", "linear_cross_entropy_value_and_grad"])
def test_linear_cross_entropy(name, case):
    error, argument, arguments, options = LINEAR[case]
    raises(error, argument, lambda: getattr(fastsoftmax, name)(*arguments, **options))


def test_gradient_of_something_unknown():
    call = fastsoftmax.linear_cross_entropy_value_and_grad
    raises(ValueError, "wrt", lambda: call(X, WEIGHT, Y, wrt=("weight", "target")))


OBJECTIVE = {
    "X with a NaN": (ValueError, "X", (put(X, np.nan), Y), {}),
    "X with an infinity": (ValueError, "X", (put(X, np.inf), Y), {}),
    "sparse X with a NaN": (ValueError, "X", (sp.csr_array(put(X, np.nan)), Y), {}),
    "sparse X with an infinity": (ValueError, "X", (sp.csr_array(put(X, -np.inf)), Y), {}),
    "single X with a NaN": (ValueError, "X", (put(X, np.nan).astype(np.float32), Y), {}),
    "half X with an infinity": (ValueError, "X", (put(X, np.inf).astype(np.float16), Y), {}),
    "X of one dimension": (ValueError, "X", (X[0], Y), {}),
    "X of three dimensions": (ValueError, "X", (X[None], Y), {}),
    "X without rows": (ValueError, "X", (X[:0], Y[:0]), {}),
    "X without columns": (ValueError, "X", (X[:, :0], Y), {}),
    "X of complex numbers": ((TypeError, ValueError), "X", (X + 1j, Y), {}),
    "X of strings": ((TypeError, ValueError), "X", (np.full((N, D), "a"), Y), {}),
    "y too short": (ValueError, "y", (X, Y[:-1]), {}),
    "y of a wrong number of rows": (ValueError, "y", (X, SOFT[:-1]), {}),
    "y negative": (ValueError, "y", (X, Y - 1), {}),
    "y too large": (ValueError, "y", (X, Y), {"n_classes": K - 1}),
    "y of fractions": ((TypeError, ValueError), "y", (X, Y + 0.5), {}),
    "y of three dimensions": (ValueError, "y", (X, SOFT[None]), {}),
    "y with a NaN": (ValueError, "y", (X, put(SOFT, np.nan)), {}),
    "y with a negative probability": (ValueError, "y", (X, put(SOFT, -0.2)), {}),
    "y of another width": (ValueError, "n_classes|y", (X, SOFT), {"n_classes": K + 1}),
    "sample_weight too short": (ValueError, "sample_weight", (X, Y), {"sample_weight": np.ones(N - 1)}),
    "sample_weight with a NaN": (
        ValueError,
        "sample_weight",
        (X, Y),
        {"sample_weight": put(np.ones(N), np.nan, 3)},
    ),
    "sample_weight of zeros": (ValueError, "sample_weight", (X, Y), {"sample_weight": np.zeros(N)}),
    "l2 negative": (ValueError, "l2", (X, Y), {"l2": -1.0}),
    "l2 not a number": (ValueError, "l2", (X, Y), {"l2": np.nan}),
    "label_smoothing above one": (ValueError, "label_smoothing", (X, Y), {"label_smoothing": 2.0}),
    "loss unknown": (ValueError, "loss", (X, Y), {"loss": "hinge"}),
    "device unknown": (ValueError, "device", (X, Y), {"device": "abacus"}),
    "n_threads of zero": (ValueError, "n_threads", (X, Y), {"n_threads": 0}),
}


@pytest.mark.parametrize("case", OBJECTIVE)
def test_objective(case):
    error, argument, arguments, options = OBJECTIVE[case]
    raises(error, argument, lambda: SoftmaxObjective(*arguments, **options))


@pytest.mark.parametrize("method", ["value", "value_and_grad", "hessp"])
def test_parameters_of_the_wrong_length(method):
    objective = SoftmaxObjective(X, Y)
    good, short = np.zeros(objective.n_params), np.zeros(objective.n_params - 1)
    call = getattr(objective, method)
    raises(ValueError, "params", lambda: call(*([short] if method != "hessp" else [short, good])))
    if method == "hessp":
        raises(ValueError, "direction", lambda: call(good, short))


def test_pack_and_unpack_of_the_wrong_shape():
    objective = SoftmaxObjective(X, Y)
    raises(ValueError, "coef", lambda: objective.pack(np.zeros((K, D + 1)), np.zeros(K)))
    raises(ValueError, "intercept", lambda: objective.pack(np.zeros((K, D)), np.zeros(K + 1)))
    raises(ValueError, "params", lambda: objective.unpack(np.zeros(3)))


FIT = {
    "X with a NaN": (ValueError, "X", (put(X, np.nan), Y), {}),
    "X with an infinity": (ValueError, "X", (put(X, np.inf), Y), {}),
    "sparse X with a NaN": (ValueError, "X", (sp.csr_array(put(X, np.nan)), Y), {}),
    "X without rows": (ValueError, "X|sample\\(s\\)", (X[:0], Y[:0]), {}),
    "X without columns": (ValueError, "X|feature\\(s\\)", (X[:, :0], Y), {}),
    "y too short": (ValueError, "y|inconsistent numbers", (X, Y[:-1]), {}),
    "y of one class": (ValueError, "class", (X, np.ones(N, dtype=int)), {}),
    "y of continuous numbers": (ValueError, "y|label type", (X, Y + 0.25), {}),
    "y with a NaN": (ValueError, "y", (X, put(Y, np.nan, 3)), {}),
    "y of probabilities that do not sum to one": (ValueError, "y", (X, put(SOFT, 0.9)), {}),
    "y missing": ((ValueError, TypeError), "y", (X, None), {}),
    "C negative": (ValueError, "C", (X, Y), {"C": -1.0}),
    "C of zero": (ValueError, "C", (X, Y), {"C": 0.0}),
    "C of a string": ((TypeError, ValueError), "C", (X, Y), {"C": "1"}),
    "tol negative": (ValueError, "tol", (X, Y), {"tol": -1e-3}),
    "max_iter negative": (ValueError, "max_iter", (X, Y), {"max_iter": -1}),
    "solver unknown": (ValueError, "solver", (X, Y), {"solver": "nonsense"}),
    "loss unknown": (ValueError, "loss", (X, Y), {"loss": "hinge"}),
    "device unknown": (ValueError, "device", (X, Y), {"device": "abacus"}),
    "l1_ratio above one": (ValueError, "l1_ratio", (X, Y), {"l1_ratio": 2.0}),
    "class_weight unknown": (ValueError, "class_weight", (X, Y), {"class_weight": "even"}),
    "y of indices with loss sigmoid": (ValueError, "y", (X, Y), {"loss": "sigmoid"}),
}


def first_line(error):
    """The line that says what is wrong; scikit-learn's own checks add advice below it."""
    return str(error).strip().splitlines()[0]


@pytest.mark.parametrize("case", FIT)
def test_fit(case):
    error, argument, arguments, options = FIT[case]
    with pytest.raises(error) as caught:
        SoftmaxRegression(**options).fit(*arguments)
    assert re.search(rf"(?<![A-Za-z])({argument})(?![A-Za-z])", first_line(caught.value))


def test_sample_weight_of_the_wrong_length():
    for weight in (np.ones(N - 1), np.ones((N, 2))):
        with pytest.raises(ValueError, match="sample_weight"):
            SoftmaxRegression().fit(X, Y, sample_weight=weight)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_prediction(method):
    model = SoftmaxRegression().fit(X, Y)
    for rows, words in ((X[:, :-1], "features"), (put(X, np.nan), "NaN"), (X[0], "1D|dimension")):
        with pytest.raises(ValueError, match=words):
            getattr(model, method)(rows)


@pytest.mark.parametrize("k", [0, -1, K + 1])
def test_top_k_out_of_range(k):
    model = SoftmaxRegression().fit(X, Y)
    raises(ValueError, "k", lambda: model.predict_top_k(X, k))


def test_a_device_that_is_not_there():
    try:
        SoftmaxObjective(X, Y, device="cuda").value(np.zeros(K * D + K))
    except fastsoftmax.DeviceUnavailable as error:
        said = str(error)
    else:
        said = "it is there"
    assert said
    assert "\n" not in said


def test_loading_what_is_no_model(tmp_path):
    with pytest.raises(OSError):
        SoftmaxRegression.load(tmp_path / "absent.safetensors")
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"not a model")
    raises(ValueError, "other.safetensors", lambda: SoftmaxRegression.load(path))
