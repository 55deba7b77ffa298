#!/usr/bin/env bash
# Sparse fits by saga can stop after one epoch, at any tolerance, with an intercept that is far from its optimum.
#
# scikit-learn 1.9.1, SciPy 1.17.1, NumPy 2.4.2, Python 3.11.
# Seen: with an L1 penalty under which all coefficients are zero, LogisticRegression(solver="saga", tol=1e-14) ends after
# one epoch without a ConvergenceWarning. The mean of its probabilities is 0.113, that of the labels 0.096; at the optimum
# both are the same. The same coefficients and intercept come out for tol=1e-4, 1e-8 and 1e-14.
# A guess that is wrong: that a small tol makes saga an oracle. It stops by the change of the coefficients; the
# intercept has no part in that, and in sparse X moves by a hundredth of the step besides. Whoever compares objectives
# or probabilities with saga's has to solve for the intercept again.
#
# Prints a line for each tol. Fails if an epoch more is made, or the means agree to 1e-3.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.2
"$folder/env/bin/python" -W error::UserWarning - <<'CODE'
import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(0)
X = sp.random_array((1000, 50), density=0.1, rng=rng, format="csr")
y = (rng.random(1000) < 0.1).astype(int)
for tol in (1e-4, 1e-8, 1e-14):
    options = {"solver": "saga", "l1_ratio": 1.0, "C": 0.02, "max_iter": 10**6, "random_state": 0}
    model = LogisticRegression(tol=tol, **options).fit(X, y)
    mean = model.predict_proba(X)[:, 1].mean()
    print(f"tol {tol:.0e}: {model.n_iter_[0]} epoch, mean probability {mean:.3f}, of labels {y.mean():.3f}")
    assert model.n_iter_[0] == 1
    assert not model.coef_.any()
    assert abs(mean - y.mean()) > 1e-2
CODE
