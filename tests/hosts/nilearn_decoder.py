"""nilearn's Decoder by logistic regression: LogisticRegressionCV of eight C for its folds and classes."""

from __future__ import annotations

import contextlib

import nibabel
import nilearn.decoding._utils
import nilearn.decoding.decoder
import numpy as np
from nilearn.decoding import Decoder

from fastsoftmax import SoftmaxRegressionCV
from tests.hosts.replaced import replaced

CALL = "Decoder('logistic', cv=3).fit(images, y), LogisticRegressionCV of 8 C; 10x10x10, 3 classes"
OURS = SoftmaxRegressionCV
IMAGES, SIDE, CLASSES = 150, 10, 3


def data():
    """Return images and labels to fit, and others to score."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, 2 * IMAGES)
    shape = SIDE, SIDE, SIDE
    voxels = rng.normal(size=(*shape, 2 * IMAGES)) + 100
    patterns = 0.3 * rng.normal(size=(CLASSES, *shape)) * (rng.random(shape) < 0.1)
    voxels += np.moveaxis(patterns[y], 0, -1)
    images = [nibabel.Nifti1Image(part, np.eye(4)) for part in (voxels[..., :IMAGES], voxels[..., IMAGES:])]
    return images[0], y[:IMAGES], images[1], y[IMAGES:]


@contextlib.contextmanager
def in_place(kind):
    """Let nilearn find this class in place of LogisticRegressionCV, in its table too; None for its own."""
    entry = nilearn.decoding._utils.SUPPORTED_ESTIMATORS["classifier"]["logistic"]
    own = entry["estimator"]
    with replaced("LogisticRegressionCV", kind, nilearn.decoding._utils, nilearn.decoding.decoder):
        entry["estimator"] = own if kind is None else kind
        try:
            yield
        finally:
            entry["estimator"] = own


def fit(images, y):
    """Return the fitted decoder, of all voxels."""
    mask = nibabel.Nifti1Image(np.ones((SIDE, SIDE, SIDE), np.int8), np.eye(4))
    return Decoder("logistic", mask=mask, cv=3, screening_percentile=100, standardize="zscore_sample").fit(
        images, y
    )


def scores(decoder, images, y):
    """Return the accuracy on other images, the folds' mean score and the mean log10 of the chosen C."""
    chosen = [C for params in decoder.cv_params_.values() for C in params["best_C"]]
    return {
        "accuracy": float(np.mean(decoder.predict(images) == y)),
        "folds": float(np.mean([np.mean(of_class) for of_class in decoder.cv_scores_.values()])),
        "mean_log10_C": float(np.mean(np.log10(chosen))),
        "coef_norm": float(np.linalg.norm(decoder.coef_)),
    }
