"""Law: a fit is there when its F is, and certified when it ends with a proof; the worst one is named."""

from __future__ import annotations

import pytest

pytest.importorskip("ml_dtypes")

from bench import __main__ as command
from bench.measure import certified, optimum, results
from bench.measure.certificates import certificate, doubts
from bench.problems.drawn import DrawnDense
from fastsoftmax.contracts import Record

BEST = 2.0
STEPS = [
    (0.1, Record(0.1, 3.0, 1.0, None, 1)),
    (0.2, Record(0.2, BEST * (1 + 5e-7), 1e-3, 1e-2, 4)),
    (0.6, Record(0.6, BEST, 1e-6, 1e-6, 20)),
]


def test_there_and_certified():
    found = certificate(STEPS, BEST, ended=True)
    assert (found["there"], found["end"], found["certified"]) == ([0.2, 4], [0.6, 20], True)
    assert found["ratio"] == pytest.approx([3.0, 5.0], rel=1e-14)
    assert found["gap"] == 5e-7
    assert doubts("it", found) == []


def test_a_fit_whose_time_was_up_has_no_end():
    found = certificate(STEPS, BEST, ended=False)
    assert found["ratio"] == pytest.approx([3.0, 5.0], rel=1e-14)  # at least
    assert (found["there"], found["end"], found["certified"]) == ([0.2, 4], None, False)
    assert doubts("it", found) == []


def test_a_fit_that_ends_without_a_proof_is_wrong():
    found = certificate(STEPS[:1], BEST, ended=True)
    assert (found["there"], found["ratio"], found["certified"]) == (None, None, False)
    assert doubts("it", found) == ["it: ended without a certificate of 1e-06; its gap is None of F"]


def test_the_range_of_penalties_and_the_drawn_set():
    assert (min(certified.STRENGTHS), max(certified.STRENGTHS)) == (1e-4, 1e8)
    drawn = certified.sets("float32")["gaussian"]
    assert (drawn.n_rows, drawn.n_features, drawn.n_classes, drawn.dtype) == (300_000, 100, 7, "float32")
    options = command.parser().parse_args(["optimum", "--C", "1e-4", "1e8"])
    assert options.C == [1e-4, 1e8]


def test_the_worst_is_one_whose_time_was_up():
    pytest.importorskip("rich")
    from bench.report.certificate_tables import certificate_table

    shared = {"family": "certified", "dtype": "float32", "contender": "fastsoftmax lbfgs", "in_turn": {}}
    fits = {"quick": (STEPS[:2], True), "late": (STEPS, False), "lost": (STEPS[:1], False)}
    entries = [
        results.entry_of(
            {
                "extra_info": shared
                | {"problem": name, "operation": "C = 1", "limit_seconds": 0.6}
                | {"certificate": certificate(steps, BEST, ended=ended)},
                "stats": dict.fromkeys(("median", "min", "max"), 1.0),
            }
        )
        for name, (steps, ended) in fits.items()
    ]
    never, by_seconds, by_passes = str(certificate_table("title", entries).caption).splitlines()
    assert never == "1 of 3 never there"
    assert by_seconds.startswith("worst by seconds: > 3.00 times, late, C = 1, float32")
    assert by_passes.startswith("worst by passes: > 5.00 times, late")


@pytest.fixture
def tiny(monkeypatch):
    """One drawn set with a few rows instead of all sets."""
    monkeypatch.setattr(certified, "sets", lambda dtype: {"drawn": DrawnDense("drawn", dtype, 80, 3, 3)})
    monkeypatch.setattr(optimum, "sets", certified.sets)


@pytest.mark.usefixtures("tiny")
def test_the_command_saves_and_shows_every_fit(results_folder, capsys):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    assert command.main(["certified", "--C", "1e-4", "1", "--dtype", "float64"]) == 0
    path = results_folder / "certified.json"
    _, entries = results.read(path)
    fits = [(entry.operation, entry.contender.split()[1]) for entry in entries]
    assert fits == [(C, solver) for C in ("C = 0.0001", "C = 1") for solver in certified.SOLVERS]
    for entry in entries:
        found = entry.noted["certificate"]
        assert found["certified"]
        assert found["there"][1] <= found["end"][1]
    shown = capsys.readouterr().out
    assert command.main(["report", "--json", str(path)]) == 0
    for text in (shown, capsys.readouterr().out):
        assert all(word in text for word in ("Certificates", "there", "certified", "worst by passes"))


@pytest.mark.usefixtures("tiny")
def test_optimum_has_certificates_too(results_folder, capsys):
    pytest.importorskip("rich")
    pytest.importorskip("matplotlib")
    words = ["optimum", "--sets", "drawn", "--C", "1", "--solvers", "fastsoftmax lbfgs"]
    assert command.main(words) == 0
    path = results_folder / "optimum.json"
    (entry,) = results.read(path)[1]
    assert entry.noted["certificate"]["certified"]
    assert command.main(["report", "--json", str(path), "--out", str(results_folder)]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("Time to the optimum", "Certificates"))


def test_unknown_sets_are_said(capsys):
    assert command.main(["certified", "--sets", "nothing"]) == 2
    assert "no such set: nothing" in capsys.readouterr().err
