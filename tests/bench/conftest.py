"""What results are saved with, without measuring it."""

from __future__ import annotations

import pytest


@pytest.fixture
def results_folder(tmp_path, monkeypatch):
    """An empty folder where results go, with a card of no machine."""
    pytest.importorskip("ml_dtypes")
    from bench.measure import results

    card = {"cpu": "a processor", "cores": 2, "copy_gb_per_s": 1.0}
    card["gemm_gflop_per_s"] = {"float32": 2.0, "float64": 1.0}
    monkeypatch.setattr(results.machine, "card", lambda: card)
    monkeypatch.setattr(results, "commit", dict)
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    return tmp_path
