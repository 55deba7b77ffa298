"""Law: SciPy's own tests of softmax, log_softmax and logsumexp pass with ours in their place.

They run as they stand, in a process of their own, with the functions exchanged in their modules' namespaces,
as a user has them, and with every array library that is installed (SCIPY_ARRAY_API). The same tests over
SciPy's functions say what is to be expected here; over spoilt ones, that they notice.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.interpreter import ROOT

NAMES = ("softmax", "log_softmax", "logsumexp")


class Exchange:
    """A pytest plugin: other functions under SciPy's names, and a record of each test's outcome and calls."""

    def __init__(self, functions):
        self.functions = functions
        self.calls = set()
        self.record = {}

    def watched(self, name):
        function = self.functions[name]

        @functools.wraps(function)
        def call(*args, **kwargs):
            self.calls.add(name)
            return function(*args, **kwargs)

        return call

    def pytest_collection_finish(self, session):
        # Not before: SciPy's decorators look its own functions up in a table while the module is imported.
        for module in {item.module for item in session.items}:
            for name in NAMES:
                if hasattr(module, name):
                    setattr(module, name, self.watched(name))

    def pytest_runtest_logstart(self, nodeid):
        self.calls.clear()

    def pytest_runtest_logreport(self, report):
        # "passed" at the call, or whatever else happened at any of the three steps
        if report.when == "call" or report.outcome != "passed":
            told = str(report.longrepr)[-2000:] if report.longrepr else ""
            self.record[report.nodeid] = (report.outcome, sorted(self.calls), told)


def functions_of(whose):
    """Three functions by name: ours, SciPy's, or ours with one of them off by one part in a million."""
    import scipy.special

    import fastsoftmax

    if whose == "scipy":
        return {name: getattr(scipy.special, name) for name in NAMES}
    functions = {name: getattr(fastsoftmax, name) for name in NAMES}
    if whose in NAMES:
        right = functions[whose]

        def spoilt(*args, **kwargs):
            result = right(*args, **kwargs)
            return (result[0] * 1.000001, *result[1:]) if isinstance(result, tuple) else result * 1.000001

        functions[whose] = spoilt
    return functions


def main(whose, result, *arguments):
    """Run pytest on SciPy's files and write the record: the body of the other process."""
    plugin = Exchange(functions_of(whose))
    pytest.main(list(arguments), plugins=[plugin])
    Path(result).write_text(json.dumps(plugin.record))


def scipys_files():
    """Module names of SciPy's test files that name one of the three."""
    folder = Path(importlib.util.find_spec("scipy.special").origin).parent / "tests"
    word = re.compile(rf"\b({'|'.join(NAMES)})\b")
    files = sorted(folder.glob("test_*.py"))
    return [f"scipy.special.tests.{f.stem}" for f in files if word.search(f.read_text(encoding="utf-8"))]


@functools.cache
def record_of(whose, libraries):
    """Outcome, functions called and message of each of SciPy's tests, by its name."""
    files = scipys_files()
    if not files:
        pytest.skip("the installed SciPy comes without its tests")
    with tempfile.TemporaryDirectory() as folder:
        # an own configuration: ours makes errors of warnings that SciPy's tests let pass
        own, result = Path(folder, "pytest.ini"), Path(folder, "record.json")
        own.write_text("[pytest]\n")
        options = ["-q", "-c", str(own), "-p", "no:cacheprovider", "-p", "no:randomly", "--pyargs", *files]
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        code += "from tests.functional.test_scipys_own_tests import main; main(*sys.argv[1:])"
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "SCIPY_"))}
        environment |= {"SCIPY_ARRAY_API": "1"} if libraries == "all" else {}
        done = subprocess.run(
            [sys.executable, "-c", code, whose, str(result), *options],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return json.loads(result.read_text())


def outcomes(record, kind):
    return {test for test, (outcome, *_) in record.items() if outcome == kind}


@pytest.mark.parametrize("libraries", ["numpy", "all"])
def test_what_passes_with_scipys_functions_passes_with_ours(libraries, record_property):
    ours, theirs = record_of("fastsoftmax", libraries), record_of("scipy", libraries)
    counts = Counter(outcome for outcome, *_ in ours.values())
    record_property("scipys tests", dict(counts))
    print(f"SciPy's tests, {libraries}: {len(ours)} run, {dict(counts)}")
    assert ours.keys() == theirs.keys()
    assert outcomes(theirs, "passed")
    fell = outcomes(theirs, "passed") - outcomes(ours, "passed")
    assert not fell, "\n".join(f"{test}\n{ours[test][2]}" for test in sorted(fell)[:5])
    assert outcomes(ours, "skipped") == outcomes(theirs, "skipped")


@pytest.mark.parametrize("libraries", ["numpy", "all"])
def test_each_that_calls_scipys_functions_calls_ours(libraries):
    ours, theirs = record_of("fastsoftmax", libraries), record_of("scipy", libraries)
    passed = outcomes(ours, "passed")
    assert all(ours[test][1] == theirs[test][1] for test in passed)
    for name in NAMES:
        assert any(name in ours[test][1] for test in passed), name
    # what calls none of the three tests a private helper of SciPy's
    assert {test.split("::")[-1].split("[")[0] for test in passed if not ours[test][1]} <= {
        "test_wrap_radians"
    }


@pytest.mark.parametrize("name", NAMES)
def test_they_notice_a_spoilt_function(name):
    spoilt, theirs = record_of(name, "numpy"), record_of("scipy", "numpy")
    failed = outcomes(spoilt, "failed") - outcomes(theirs, "failed")
    assert failed
    assert all(name in spoilt[test][1] for test in failed)
