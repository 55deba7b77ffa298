"""Law: small problems are as described, both sides are judged alike, and the worst case is named."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("ml_dtypes")

from bench import __main__ as command
from bench.contenders import OURS, naive
from bench.measure import results, small
from bench.problems import small as grid
from bench.problems.descriptions import load
from bench.problems.drawn import bootstrap_counts, labels

TINY = grid.dense(60, 4, 3)


def test_the_named_and_the_crossed_sizes():
    names = {problem.name for problem in grid.NAMED}
    assert {"200x10 K2", "1000x20 K2", "1000x30 K6", "400x64 K10", "3000x200 K4", "150x1500 K5"} <= names
    assert {"CSR 730x2000 K2", "CSR 3000x2000 K8", "CSR 500x8000 K3"} <= names
    crossed = grid.crossed(quick=False)
    assert all(each.n_rows * each.n_features <= 10_000_000 for each in crossed["dense"])
    assert all(each.n_features >= 50 for each in crossed["CSR"])
    assert [len(part) for part in crossed.values()] == [54, 48]
    every = {subject.name for subject in small.subjects(quick=False)}
    assert {subject.name for subject in small.subjects(quick=True)} < every


@pytest.mark.parametrize("problem", [TINY, grid.csr(40, 50, 20)], ids=lambda problem: problem.name)
def test_problems_are_the_same_each_time_and_have_every_class(problem):
    data, again = problem.make(), replace(problem).make()
    assert data.X.shape == (problem.n_rows, problem.n_features)
    assert (data.X != again.X).sum() == 0
    np.testing.assert_array_equal(data.y, again.y)
    np.testing.assert_array_equal(np.unique(data.y), np.arange(problem.n_classes))
    assert data.X_test.shape[0] == len(data.y_test) == max(small.PREDICTED_ROWS)


def test_a_tenth_of_the_entries_is_there():
    X = grid.csr(300, 500, 2).make().X
    X.check_format()
    # 150,000 draws: the standard deviation of their share is 0.0008
    assert X.nnz / (300 * 500) == pytest.approx(0.1, abs=0.004)


def test_labels_are_drawn_by_the_softmax():
    p = np.array([0.2, 0.5, 0.3])
    drawn = labels(np.random.default_rng(0), np.tile(np.log(p), (20_000, 1)))
    # the standard deviation of a share is at most 0.0036
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, p, atol=0.015)


def test_bootstrap_samples_have_as_many_rows():
    counts = bootstrap_counts(5, 30)
    assert counts.shape == (5, 30)
    assert counts.sum(axis=1).tolist() == [30] * 5


def test_two_classes_may_have_one_row_of_coefficients():
    rng = np.random.default_rng(1)
    X, y, coef, intercept = rng.standard_normal((9, 3)), np.arange(9) % 2, rng.standard_normal((1, 3)), [0.3]
    margin = (X @ coef[0] + intercept[0]) * np.where(y == 1, 1, -1)
    expected = np.mean(np.log1p(np.exp(-margin))) + np.vdot(coef, coef) / (2 * 0.7 * 9)
    # sums of a few terms of order one
    assert naive.objective(coef, intercept, X, y, 0.7) == pytest.approx(expected, rel=1e-14)


def test_what_is_wrong_with_a_fit():
    data = load(TINY)
    ours, theirs = small.estimators(1).values()
    noted = {
        name: small.noted_of(model.fit(data.X, data.y), data) for name, model in small.estimators(1).items()
    }
    ours.fit(data.X, data.y)
    assert small.doubts(ours, noted) == []
    assert noted["sklearn"]["max_iter"] == theirs.max_iter
    ours.duality_gap_ = 2e-6 * ours.objective_
    noted["sklearn"]["objective"] = noted[OURS]["objective"] * 0.99
    uncertified, above = small.doubts(ours, noted)
    assert "not certified" in uncertified
    assert "F is" in above


def test_rounds_end_when_it_has_been_long_enough(monkeypatch):
    monkeypatch.setattr(small, "PAUSE_AFTER_BLAS_SECONDS", 0.0)
    monkeypatch.setattr(small, "calls_a_round", lambda run: 1)
    order = []
    runs = {name: lambda name=name: order.append(name) for name in ("one", "other")}
    assert len(small.in_rounds(runs)) == small.ROUNDS
    assert order == ["one", "other"] * small.ROUNDS
    monkeypatch.setattr(small, "ENOUGH_SECONDS", 0.0)
    assert len(small.in_rounds(runs)) == small.LEAST_ROUNDS


@pytest.fixture
def brief(monkeypatch):
    """One tiny problem of each kind, and hardly any pause."""
    monkeypatch.setattr(grid, "NAMED", (TINY,))
    monkeypatch.setattr(grid, "crossed", lambda quick: {"CSR": [grid.csr(40, 50, 2)]})
    monkeypatch.setattr(grid, "RESAMPLED", TINY)
    monkeypatch.setattr(grid, "N_SAMPLES", 4)
    monkeypatch.setattr(small, "PAUSE_AFTER_BLAS_SECONDS", 0.0)
    monkeypatch.setattr(small, "ROUNDS", small.LEAST_ROUNDS)
    monkeypatch.setattr(small, "calls_a_round", lambda run: 1)


@pytest.mark.usefixtures("brief")
def test_the_command_saves_and_shows_each_kind(results_folder, capsys):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    assert command.main(["small", "--threads", "1"]) == 0
    path = results_folder / "small.json"
    _, entries = results.read(path)
    parts = {entry.noted["part"] for entry in entries}
    assert parts == {"fit, named", "fit, CSR", "fit_many", *small.PREDICTIONS}
    assert len(entries) == 3 * (1 + 1) + 2 * (3 * 3 + 1)
    assert {entry.noted["threads"] for entry in entries} == {1}
    groups = {}
    for entry in entries:
        groups.setdefault(entry.group, {})[entry.contender] = entry
    for group in groups.values():
        is_fit = group[OURS].noted["part"].startswith("fit, ")
        assert list(group) == [OURS, "sklearn", *(["sklearn as low"] if is_fit else [])]
        assert group[OURS].to_ours is None
        for other in list(group.values())[1:]:
            assert other.to_ours.low <= other.to_ours.median <= other.to_ours.high
        if is_fit:
            own, low = (group[name].noted["objective"] for name in (OURS, "sklearn as low"))
            assert low <= own * (1 + 1e-6)
    shown = capsys.readouterr().out
    for words in (["report"], ["report", "--all"]):
        assert command.main([*words, "--json", str(path)]) == 0
        shown += capsys.readouterr().out
    for text in (
        "Small problems",
        "fit, CSR",
        "predict_proba",
        "fit_many",
        "60x4 K3, 50 rows",
        "worst case",
        "as low",
    ):
        assert text in shown


@pytest.mark.usefixtures("brief")
def test_words_choose_and_complaints_fail(results_folder, monkeypatch, capsys):
    pytest.importorskip("rich")
    monkeypatch.setattr(small, "doubts", lambda ours, noted: ["made up"])
    assert command.main(["small", "-k", "named K3", "--name", "chosen"]) == 1
    saved = json.loads((results_folder / "chosen.json").read_text())["benchmarks"]
    assert [each["name"] for each in saved] == [
        f"fit, named: 60x4 K3, fit {name}" for name in (OURS, "sklearn", "sklearn as low")
    ]
    out, err = capsys.readouterr()
    assert err == "fit, named: 60x4 K3, fit: made up\n"
    assert "1 cases with something wrong" in out
