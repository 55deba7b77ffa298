"""Law: SciPy's own tests of softmax, log_softmax and logsumexp pass with ours in their place."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest


def test_scipys_own_tests(tmp_path):
    if importlib.util.find_spec("scipy.special.tests") is None:
        pytest.skip("this SciPy comes without its tests")
    arguments = ["--pyargs", "scipy.special.tests.test_logsumexp", "-p", "tests.swap", "-q"]
    # an own configuration file: ours makes errors of warnings that SciPy's tests expect
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    arguments += ["-c", str(tmp_path / "pytest.ini"), "-p", "no:cacheprovider"]
    root = Path(__file__).resolve().parents[1]
    code = f"import sys, pytest; sys.path.insert(0, {str(root)!r}); sys.exit(pytest.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed, done.stdout
    assert int(passed[1]) > 80
