"""Law: a kernel holds no texts of errors, and calls nothing outside but what is listed here.

An assignment of a slice, np.diff and the like bring the code that formats the text of their errors: it took a
third of the time in which kernels were compiled.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse as sp

from fastsoftmax import SoftmaxRegression
from fastsoftmax.runtime.jitted import Jitted

# Memory of workspaces, BLAS by way of Numba, and the mathematics that we do not write ourselves.
CALLED = {
    "NRT_Free", "NRT_MemInfo_alloc_aligned", "NRT_MemInfo_call_dtor", "numba_attempt_nocopy_reshape",
    "numba_xxdot", "numba_xxgemm", "numba_xxgemv", "exp", "expf", "log", "log1p", "sqrt", "tanh", "tanhf",
}  # fmt: skip
# Of Numba's wrapper for Python, and of the exceptions that its own functions may raise.
PYTHON = (
    "Py", "_Py", "NRT_adapt_", "NRT_incref", "NRT_decref", "numba_do_raise", "numba_gil_", "numba_unpickle"
)  # fmt: skip
RAISED = ("numba_runtime_build_excinfo_struct", "numba_unpack", "numba_extract", "memcpy", "memset")


def fitted(kind):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 5)), rng.integers(0, 2 if kind == "two classes" else 3, 90)
    if kind == "sparse":
        X = sp.csr_array(np.where(X > 0, X, 0.0))
    elif kind != "two classes":
        X = X.astype(kind)
    model = SoftmaxRegression().fit(X, y)
    model.predict_proba(X), model.predict(X)


def libraries():
    """The names and libraries of all entries that this process has compiled or loaded."""
    seen = set()
    for name, module in list(sys.modules.items()):
        if not name.startswith("fastsoftmax."):
            continue
        for found in list(vars(module).values()):
            for entry in (found.serial,) if isinstance(found, Jitted) else (found,):
                if hasattr(entry, "overloads") and hasattr(entry, "py_func") and id(entry) not in seen:
                    seen.add(id(entry))
                    for result in entry.overloads.values():
                        yield entry.py_func.__qualname__, result.library


@pytest.mark.parametrize("kind", ["float32", "float64", "sparse", "two classes"])
def test_what_kernels_hold_and_call(kind):
    fitted(kind)
    n_entries = 0
    for name, library in libraries():
        module = library._get_module_for_linking()
        functions = list(module.functions)
        texts = [each.name for each in functions if "unicode" in each.name and not each.is_declaration]
        assert texts == [], name
        outside = {
            each.name for each in functions if each.is_declaration and not each.name.startswith("llvm.")
        }
        strange = {each for each in outside - CALLED if not each.startswith(PYTHON + RAISED)}
        assert strange == set(), name
        n_entries += 1
    assert n_entries >= 10
