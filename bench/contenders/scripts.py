"""Whole programs, as a user would write them: one an operation and contender, for `measure.cold`.

They find their data in the current folder, in the files named here.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.contenders import OURS


class Script(NamedTuple):
    """A program in two parts: imports and data, and the line that it is about, which can be run again."""

    before: str
    call: str = ""


LOGITS, ROWS = "logits.npy", "rows.npy"
MODELS = {OURS: "model.safetensors", "sklearn": "model.joblib"}

DIGITS = "from sklearn.datasets import load_digits\nX, y = load_digits(return_X_y=True)\n"
AS_CSR = "from scipy.sparse import csr_matrix\nX = csr_matrix(X)\n"
ESTIMATORS = {
    OURS: "from fastsoftmax import SoftmaxRegression\n",
    "sklearn": "from sklearn.linear_model import LogisticRegression\n",
}
FITS = {
    OURS: "model = SoftmaxRegression().fit(X, y)",
    "sklearn": "model = LogisticRegression(max_iter=1000).fit(X, y)",  # 100 are too few, it says
}
SAVED_ROWS = f"import numpy as np\nX = np.load('{ROWS}')\n"

IMPORT_SOFTMAX = {
    OURS: Script("from fastsoftmax import softmax"),
    "python": Script("pass"),  # what every process takes
    "numpy": Script("import numpy"),
    "scipy.special": Script("from scipy.special import softmax"),
}
IMPORT_ESTIMATOR = {
    OURS: Script(ESTIMATORS[OURS]),
    "sklearn.linear_model": Script(ESTIMATORS["sklearn"]),
}
SOFTMAX = {
    contender: Script(
        f"import numpy as np\nfrom {module} import softmax\nz = np.load('{LOGITS}')", "p = softmax(z, axis=1)"
    )
    for contender, module in ((OURS, "fastsoftmax"), ("scipy", "scipy.special"))
}
FIT = {contender: Script(ESTIMATORS[contender] + DIGITS, FITS[contender]) for contender in FITS}
SPARSE_FIT = {contender: Script(script.before + AS_CSR, script.call) for contender, script in FIT.items()}
PREDICT = {
    OURS: Script(
        f"{SAVED_ROWS}import fastsoftmax\nmodel = fastsoftmax.load('{MODELS[OURS]}')",
        "p = model.predict_proba(X)",
    ),
    "sklearn": Script(
        f"{SAVED_ROWS}import joblib\nmodel = joblib.load('{MODELS['sklearn']}')", "p = model.predict_proba(X)"
    ),
}
