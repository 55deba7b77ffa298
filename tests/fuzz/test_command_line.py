"""Law: whatever words and files the command line is given, it ends in a status, and says why in one line.

How many cases: see `tests/fuzz/test_arguments.py`.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fastsoftmax import SoftmaxRegression
from fastsoftmax.cli.app import app
from tests.fuzz.anything import examples
from tests.fuzz.test_files import RAN, WHOLE, archive, spoilt

GOOD = b"a,b,label\n" + b"".join(b"%d,%d,%s\n" % (i, i * i % 7, b"xyz"[i % 3 : i % 3 + 1]) for i in range(12))
NUMBERS = ["1", "0", "-1", "0.1", "1e400", "inf", "nan", "9" * 30, "", "one", "1_0", "٣"]
COLUMNS = ["label", "a", "0", "-1", "7", "", "A", "b\nc"]
OPTIONS = {
    "--C": NUMBERS,
    "--tol": NUMBERS,
    "--max-iter": ["1", "3", "0", "-1", "2.5", "9" * 30],
    "--n-threads": ["1", "2", "0", "99", "9" * 30, "x"],
    "--solver": ["auto", "lbfgs", "newton-cg", "newton-cholesky", "saga", "adam", ""],
    "--loss": ["softmax", "sigmoid", "hinge"],
    "--target": COLUMNS,
    "--test-size": ["0.5", "0.01", "1", "nan", "x"],
    "--features": ["a", "a,b", "0,1", "", '"a', "a,a"],
    "--drop": ["a", "b,0", "label", "z"],
    "--id": COLUMNS,
    "--weight": COLUMNS,
    "--class-weight": ["balanced", "none"],
    "--drop-missing": None,
    "--sep": [",", ";", "tab", "blanks", "ab", "", "\n", "1"],
    "--header": None,
    "--no-header": None,
    "--format": ["csv", ".tsv", "npz", "svm", "x", ""],
    "--index-base": ["auto", "0", "1", "2"],
    "--memory": ["8K", "1G", "0", "-1", "x", "9" * 30],
    "--no-cache": None,
    "--layer": ["a", ""],
    "--proba": None,
    "--json": None,
    "--help": None,
    "--nothing": None,
}
OF = {
    "fit": [
        "--C",
        "--tol",
        "--max-iter",
        "--n-threads",
        "--solver",
        "--loss",
        "--target",
        "--json",
        "--test",
        "--test-size",
        "--features",
        "--drop",
        "--id",
        "--weight",
        "--class-weight",
        "--drop-missing",
        "--sep",
        "--header",
        "--no-header",
        "--format",
        "--index-base",
        "--memory",
        "--no-cache",
        "--layer",
    ],
    "predict": [
        "--target",
        "--proba",
        "--json",
        *("--id", "--drop-missing", "--sep", "--header", "--no-header", "--format", "--index-base"),
        *("--memory", "--layer"),
    ],
    "score": [
        "--target",
        "--json",
        *("--drop-missing", "--sep", "--header", "--no-header", "--format", "--index-base"),
        *("--memory", "--layer"),
    ],
    "info": ["--json"],
}
PLACES = ["", ".", "no/such/folder/x", "\0", "x" * 300, "-", "--", "ü"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    (folder / "good.csv").write_bytes(GOOD)
    rows, labels = np.arange(24.0).reshape(12, 2) % 7, np.arange(12) % 3
    (folder / "good.npz").write_bytes(archive(X=rows, y=labels))
    (folder / "soft.npz").write_bytes(archive(X=rows, y=np.eye(3)[labels]))
    SoftmaxRegression().fit(rows, np.array(list("xyz"))[labels]).save(folder / "model.safetensors")
    return folder


def _data(draw, folder):
    """A file that is right, or spoilt, or none."""
    how = draw(st.sampled_from(["right", "right", "spoilt", "place"]))
    if how == "right":
        return str(folder / draw(st.sampled_from(["good.csv", "good.npz", "soft.npz"])))
    if how == "place":
        return draw(st.sampled_from([*PLACES, str(folder)]))
    suffix = draw(st.sampled_from(sorted(WHOLE)))
    path = folder / f"spoilt{suffix}"
    path.write_bytes(spoilt(draw, draw(st.sampled_from(WHOLE[suffix]))))
    return str(path)


def _model(draw, folder):
    how = draw(st.sampled_from(["right", "right", "right", "spoilt", "place"]))
    if how == "right":
        return str(folder / "model.safetensors")
    if how == "place":
        return draw(st.sampled_from([*PLACES, str(folder / "good.csv")]))
    path = folder / "spoilt.safetensors"
    path.write_bytes(spoilt(draw, (folder / "model.safetensors").read_bytes()))
    return str(path)


def _words(draw, folder, command):
    """A command with its arguments, some options it has, and now and then one that it has not."""
    words = [command]
    if command != "fit":
        words.append(_model(draw, folder))
    if command != "info":
        words.append(_data(draw, folder))
    known = st.sampled_from(OF[command])
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.one_of(known, known, known, st.sampled_from(sorted(OPTIONS))))
        words.append(name)
        if name == "--test":
            words.append(_data(draw, folder))
        elif OPTIONS[name] is not None:
            words.append(draw(st.sampled_from(OPTIONS[name])))
    if draw(st.integers(0, 19)) == 0:
        words.insert(draw(st.integers(0, len(words))), draw(st.sampled_from(PLACES)))
    return words


@examples(4_000)
@given(st.data(), st.sampled_from(sorted(OF)))
def test_commands(folder, data, command):
    words = _words(data.draw, folder, command)
    written = folder / ("out.safetensors" if command == "fit" else "out.csv")
    written.write_bytes(b"as it was")
    if command in ("fit", "predict") and data.draw(st.booleans()):
        words += ["--out", str(written)]
    result = CliRunner().invoke(app, words)
    assert not RAN
    assert result.exception is None or isinstance(result.exception, SystemExit), words
    assert result.exit_code in (0, 1, 2)
    assert "Traceback" not in result.output
    if result.exit_code:
        assert written.read_bytes() == b"as it was"
        assert result.stdout == ""
        assert result.stderr
        if result.exit_code == 1:
            last = result.stderr.splitlines()[-1]
            assert last.startswith("fastsoftmax: "), result.stderr
            assert len(last) > len("fastsoftmax: ")
        return
    if "--help" in words:
        return
    assert ("--out" in words) == (written.read_bytes() != b"as it was")
    if "--json" in words:
        json.loads(result.stdout)
    if command == "fit" and "--out" in words:
        SoftmaxRegression.load(written)
