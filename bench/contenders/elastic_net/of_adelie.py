"""adelie's groups across classes: the path from no coefficient to the penalty, ever more exactly."""

import time

import adelie as ad
import numpy as np
import scipy.sparse as sp

TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10, 1e-12)
PATH = 20  # penalties; a path of one is slower


def points(X, y, options):
    """Give the last coefficients of paths with smaller and smaller tolerances."""
    n_classes = int(y.max()) + 1
    one_hot = np.eye(n_classes)[y]
    # Its loss is the mean over classes, too.
    strength = 1 / (options["C"] * X.shape[0] * n_classes)
    if sp.issparse(X):
        matrix = ad.matrix.sparse(X.tocsc(), method="naive", n_threads=1)
    else:
        matrix = ad.matrix.dense(np.asfortranarray(X), method="naive", n_threads=1)
    glm = ad.glm.multinomial(one_hot)
    rest = one_hot - one_hot.mean(axis=0)
    largest = np.linalg.norm(X.T @ rest, axis=1).max() / (X.shape[0] * n_classes * options["l1_ratio"])
    path = np.geomspace(max(largest, strength), strength, PATH)
    for tol in TOLERANCES:
        start = time.process_time()
        state = ad.grpnet(
            matrix, glm, penalty=np.ones(X.shape[1]), alpha=options["l1_ratio"], lmda_path=path, tol=tol,
            irls_tol=tol, intercept=True, n_threads=1, early_exit=False, progress_bar=False,
        )  # fmt: skip
        seconds = time.process_time() - start
        if len(state.lmdas) < PATH:  # it gave up on the way
            continue
        coef = state.betas[-1].toarray().reshape(X.shape[1], n_classes).T
        yield seconds, coef, np.asarray(state.intercepts[-1]).ravel()
