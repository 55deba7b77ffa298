"""The code of docs/backends.md and the backends' examples run as they stand, with the real libraries."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

LIBRARIES = ("torch", "xgboost", "lightgbm", "catboost", "onnxruntime")
MODULES = (
    "torch.softmaxes",
    "torch.cross_entropies",
    "torch.linear",
    "torch.modules",
    "boosting.xgboost",
    "boosting.lightgbm",
    "boosting.catboost",
)
PAGE = Path(__file__).resolve().parents[2] / "docs" / "backends.md"


@pytest.fixture(autouse=True)
def _libraries():
    for name in LIBRARIES:
        pytest.importorskip(name, reason=f"needs {name}: python -m tests.backends")


@pytest.mark.filterwarnings("ignore")  # of the other libraries
def test_the_page_runs(tmp_path, monkeypatch):
    """Its blocks run in order, in one namespace."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```py\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 7
    from fastsoftmax.backends import numba as backend

    backend.register()  # as the installed package's entry point does
    namespace = {"__name__": "__main__"}
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), namespace)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    """The examples of docstrings print what they say."""
    module = importlib.import_module(f"fastsoftmax.backends.{name}")
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)
