"""Processes with threads of BLAS to hold, to hand on to a fork, and to give back."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def two_threads_of_blas(monkeypatch):
    """A fresh Python has two, however many this one was given."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
