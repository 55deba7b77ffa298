"""ONNX graphs of fitted models: what ONNX Runtime computes from them is what the models predict.

`python -m tests.backends` runs this in an environment of its own.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastsoftmax import SoftmaxRegression

onnx = pytest.importorskip("onnx", reason="needs onnx: python -m tests.backends")
runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: python -m tests.backends")

TOLERANCE = 1e-13  # float64 throughout, as the models' own predictions of float64 rows


def fitted(kind, offset=0.0):
    """A fitted model of each kind, and rows whose columns have the mean `offset`."""
    if kind == "multilabel":
        X, y = make_multilabel_classification(n_samples=101, n_features=7, n_classes=4, random_state=0)
        return SoftmaxRegression(loss="sigmoid", C=0.1).fit(X + offset, y), X + offset
    n_classes = 2 if kind == "binary" else 5
    X, y = make_classification(
        n_samples=101, n_features=7, n_informative=6, n_redundant=1, n_classes=n_classes, random_state=0
    )
    options = {"multi_class": "ovr"} if kind == "ovr" else {}
    return SoftmaxRegression(C=0.1, **options).fit(X + offset, y), X + offset


def run(model, X, dtype=np.float64):
    session = runtime.InferenceSession(
        model.to_onnx(dtype=dtype).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    label, probabilities, logits = session.run(["label", "probabilities", "logits"], {"X": X.astype(dtype)})
    return label, probabilities, logits


@pytest.mark.parametrize("kind", ["softmax", "binary", "ovr", "multilabel"])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_runtime_predicts_what_the_model_does(kind, offset):
    """Labels, probabilities and logits of each kind of model, with columns far from zero, too."""
    model, X = fitted(kind, offset)
    tolerance = TOLERANCE if not offset else 1e-8  # of logits that are differences of numbers of some 1e6
    for rows in (X, X[:1]):
        label, probabilities, logits = run(model, rows)
        np.testing.assert_array_equal(label, model.predict(rows))
        np.testing.assert_allclose(probabilities, model.predict_proba(rows), rtol=tolerance, atol=tolerance)
        expected = model.decision_function(rows).reshape(logits.shape)
        np.testing.assert_allclose(logits, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["softmax", "binary", "ovr"])
def test_far_rows_have_probabilities(kind):
    """Logits of thousands give 0 and 1, small probabilities their digits, and no NaN."""
    model, X = fitted(kind)
    far = np.concatenate([X * 30.0, X * 1e4])
    probabilities = run(model, far)[1]
    np.testing.assert_allclose(probabilities, model.predict_proba(far), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize(
    "names", [np.array(list("edcba")), np.array(list("edcba"), object), np.array([True, False])]
)
def test_classes_keep_their_kind(names):
    """Text and numbers come out as labels."""
    model, X = fitted("softmax" if len(names) > 2 else "binary")
    renamed = SoftmaxRegression(C=0.1).fit(X, names[model.predict(X)])
    assert list(run(renamed, X)[0]) == list(renamed.predict(X))


def test_float32_rows_are_taken():
    """Rows of float32 are computed in float64: the probabilities of the rounded rows."""
    model, X = fitted("softmax")
    X = X.astype(np.float32)
    np.testing.assert_allclose(
        run(model, X, np.float32)[1],
        model.predict_proba(X.astype(np.float64)),
        rtol=TOLERANCE,
        atol=TOLERANCE,
    )


def test_what_cannot_be_exported_says_so():
    """Models that are not fitted, dtypes, and classes that ONNX has no type for."""
    with pytest.raises(NotFittedError):
        SoftmaxRegression().to_onnx()
    model, _ = fitted("binary")
    with pytest.raises(TypeError, match="float64 or float32"):
        model.to_onnx(dtype=np.int64)
    model.classes_ = np.array([b"a", b"b"])
    with pytest.raises(TypeError, match="no type for classes"):
        model.to_onnx()


@pytest.mark.parametrize("kind", ["softmax", "binary", "ovr", "multilabel"])
def test_pipelines_are_converted(kind):
    """skl2onnx converts a pipeline that ends in a model, untaught, to labels and probabilities."""
    skl2onnx = pytest.importorskip("skl2onnx", reason="needs skl2onnx: python -m tests.backends")
    model, X = fitted(kind)
    y = model.predict(X)
    pipeline = make_pipeline(StandardScaler(), clone(model)).fit(X, y)
    proto = skl2onnx.to_onnx(pipeline, X[:1], target_opset=17)
    session = runtime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    label, probabilities = session.run(None, {"X": X})
    np.testing.assert_array_equal(label, pipeline.predict(X))
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), rtol=TOLERANCE, atol=TOLERANCE)
