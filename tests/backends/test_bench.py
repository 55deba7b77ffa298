"""Law: the benchmark of the backends compares what is the same, with the real libraries."""

from __future__ import annotations

import pytest

from bench.contenders import OURS
from bench.measure import backends

TINY = backends.Sizes(((64, 7),), (16, 8, 50), ((300, 3),), (300, 3, 2), 1, 1)


@pytest.mark.parametrize("library", backends.LIBRARIES)
def test_subjects_are_measured_and_agree(library):
    pytest.importorskip(library, reason=f"needs {library}: python -m tests.backends")
    groups = [step.run() for step in backends.steps(TINY, library)]
    assert len(groups) == (8 if library == "torch" else 2)
    for group in groups:
        assert backends.complaints(group) == []
        assert group[0]["extra_info"]["contender"] == OURS
        assert all(each["extra_info"]["in_turn"][OURS]["ratio"][0] > 0.0 for each in group[1:])
