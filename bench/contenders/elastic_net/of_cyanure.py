"""Cyanure's softmax with l1 or elastic-net penalty, with more and more passes."""

import time

import numpy as np
from cyanure.estimators import Classifier

FIRST, GROWTH, SPARE = 10, 2.0, 0.95


def points(X, y, options):
    """Give fits from the start, of twice the passes each; the last as many as there is time for."""
    strength, ratio = 1 / (options["C"] * X.shape[0]), options["l1_ratio"]
    weights = {"penalty": "l1", "lambda_1": strength}
    if options["grouped"]:
        weights["penalty"] = "l1l2"
    elif ratio < 1:
        weights = {
            "penalty": "elasticnet",
            "lambda_1": strength * ratio,
            "lambda_2": strength * (1 - ratio),
        }

    def fit(n_passes, X, y):
        model = Classifier(
            loss="logistic", multi_class="multinomial", fit_intercept=True, tol=1e-14, verbose=False,
            max_iter=n_passes, duality_gap_interval=10, n_threads=1, random_state=0, **weights,
        )  # fmt: skip
        start = time.process_time()
        model.fit(X, y)
        return time.process_time() - start, model

    fit(1, X, y)
    n_passes = FIRST
    while True:
        seconds, model = fit(n_passes, X, y)
        coef = np.asarray(model.coef_)
        yield seconds, coef if coef.shape[1] == X.shape[1] else coef.T, np.ravel(model.intercept_)
        affordable = int(SPARE * n_passes * options["limit"] / seconds)
        if affordable <= n_passes:
            return
        n_passes = min(int(GROWTH * n_passes), affordable)
