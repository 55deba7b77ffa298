"""Law: a sparse model's F is that of glmnet's coefficients, or below it (R with glmnet, where installed)."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from fastsoftmax import SoftmaxRegression
from tests import naive
from tests.problems import dataset

SCRIPT = """
suppressMessages(library(glmnet))
given <- commandArgs(trailingOnly = TRUE)
rows <- as.matrix(read.csv(given[1], header = FALSE))
last <- as.numeric(given[2])
y <- factor(rows[, 1])
fit <- glmnet(rows[, -1], y, family = "multinomial", alpha = as.numeric(given[3]), standardize = FALSE,
              lambda = last * 10^seq(2, 0, length.out = 30), thresh = 1e-14, maxit = 1e7,
              type.multinomial = given[4])
stopifnot(length(fit$lambda) == 30, fit$dev.ratio[30] > 0)
found <- sapply(coef(fit, s = last), as.numeric)
write.table(found, given[5], row.names = FALSE, col.names = FALSE, sep = ",")
"""


@pytest.mark.parametrize(("l1_ratio", "grouped"), [(1.0, False), (0.5, False), (1.0, True)])
def test_f_is_that_of_glmnet(l1_ratio, grouped, tmp_path):
    if shutil.which("Rscript") is None:
        pytest.skip("needs R")
    X, y = dataset("iris")
    C, strength = 1.0, 1.0 / len(y)
    np.savetxt(tmp_path / "rows.csv", np.column_stack((y, X)), delimiter=",")
    (tmp_path / "fit.R").write_text(SCRIPT)
    arguments = ["rows.csv", repr(strength), repr(l1_ratio), ["ungrouped", "grouped"][grouped], "coef.csv"]
    command = ["Rscript", "--vanilla", "fit.R", *arguments]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    if "there is no package" in ran.stderr:
        pytest.skip("needs R's glmnet")
    assert ran.returncode == 0, ran.stderr
    theirs = np.loadtxt(tmp_path / "coef.csv", delimiter=",").T
    ours = SoftmaxRegression(C=C, l1_ratio=l1_ratio, group_classes=grouped, tol=1e-9).fit(X, y)
    value = naive.objective(X, y, theirs[:, 1:], theirs[:, 0])[0]
    value += naive.elastic_net_penalty(theirs[:, 1:], strength, l1_ratio, grouped=grouped)
    assert ours.objective_ <= value * (1.0 + 1e-9)
    assert ours.objective_ == pytest.approx(value, rel=1e-7)
    logits = X @ theirs[:, 1:].T + theirs[:, 0]
    proba = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(ours.predict_proba(X), proba / proba.sum(axis=1, keepdims=True), atol=1e-3)
