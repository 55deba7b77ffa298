"""Law: a command prints and writes what it promises; a failure is a status and one line."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_iris
from typer.testing import CliRunner

import fastsoftmax
from fastsoftmax import SoftmaxRegression, SoftmaxRegressionCV
from fastsoftmax.cli.app import app
from fastsoftmax.data import readers
from fastsoftmax.persistence import container

SPECIES = np.array(["setosa", "versicolor", "virginica"])


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of the flowers in `_frame`, with text for labels."""
    folder = tmp_path_factory.mktemp("model")
    _frame().to_csv(folder / "iris.csv", index=False)
    path = folder / "iris.model"
    assert _run("fit", folder / "iris.csv", "--out", path).exit_code == 0
    return str(path)


def _load(path):
    """The model without its feature names, to be given plain arrays."""
    fitted = SoftmaxRegression.load(path)
    del fitted.feature_names_in_
    return fitted


def _frame():
    bunch = load_iris()
    return pandas.DataFrame(bunch.data, columns=["a", "b", "c", "d"]).assign(species=SPECIES[bunch.target])


def _run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def _json(*words):
    result = _run(*words, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def _fails(*words, status=1):
    """The one line that a failing command says."""
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    result = _run(*words)
    assert result.exit_code == status
    assert result.stdout == ""
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    (line,) = result.stderr.splitlines()
    assert line.startswith("fastsoftmax: ")
    return line


# fit


def test_fit_says_what_the_model_is():
    said = _json("fit", "digits", "--C", "0.01", "--out", "m", "--tol", "1e-4")
    fitted = SoftmaxRegression.load("m")
    table = readers.read("digits")
    assert (said["rows"], said["features"]) == table.X.shape
    assert said["classes"] == 10
    assert said["test_rows"] == len(table.y_test)
    assert said["train_accuracy"] == fitted.score(table.X, table.y)
    assert said["test_accuracy"] == fitted.score(table.X_test, table.y_test) > 0.9
    assert said["objective"] == fitted.objective_
    assert 0 <= said["duality_gap"] <= 1e-4 * said["objective"]
    assert said["solver"] == fitted.solver_
    assert said["model"] == "m"
    assert fitted.C == 0.01


def test_fit_prints_a_table():
    result = _run("fit", "iris", "--out", "m")
    assert result.exit_code == 0
    assert result.stderr == ""
    names = [line[:14].strip() for line in result.stdout.splitlines() if line[:1].strip()]
    assert names == [
        *("data", "classes", "solver", "time", "objective", "duality gap"),
        *("train accuracy", "test accuracy", "most confused", "model"),
    ]
    assert "120 rows × 4 features" in result.stdout
    assert "setosa, versicolor, virginica" in result.stdout


def test_fit_passes_its_options_on(monkeypatch):
    taken = {}

    class Spy(SoftmaxRegression):
        def fit(self, X, y, sample_weight=None):
            taken.update(self.get_params())
            return super().fit(X, y, sample_weight)

    monkeypatch.setattr("fastsoftmax.estimator.SoftmaxRegression", Spy)
    _json("fit", "iris", "--C", 2, "--tol", 0.5, "--max-iter", 77, "--n-threads", 1, "--solver", "lbfgs",
          "--checkpoint", "state")  # fmt: skip
    assert taken["checkpoint"] == "state"
    assert not Path("state").exists()  # the fit has ended
    assert (taken["C"], taken["tol"], taken["max_iter"]) == (2.0, 0.5, 77)
    assert (taken["n_threads"], taken["solver"], taken["loss"]) == (1, "lbfgs", "softmax")


def test_fit_without_a_penalty_is_strict_json():
    frame = _frame().iloc[50:]
    frame.insert(0, "twice", 2.0 * frame.iloc[:, 0])  # no bound exists where columns depend on each other
    frame.to_csv("t.csv", index=False)
    said = _json("fit", "t.csv", "--C", "inf", "--max-iter", 500, "--tol", 1e-3)
    assert said["C"] == "inf"
    assert said["duality_gap"] is None
    assert said["grad_norm"] >= 0
    assert "gradient norm" in _run("fit", "t.csv", "--C", "inf", "--tol", 1e-3).stdout


def test_fit_with_test_data_of_its_own():
    frame = _frame()
    frame.iloc[::2].to_csv("train.csv", index=False)
    frame.iloc[1::2].to_csv("test.csv", index=False)
    said = _json("fit", "train.csv", "--test", "test.csv", "--target", "species")
    assert (said["rows"], said["test_rows"]) == (75, 75)
    assert said["test_accuracy"] > 0.9


def test_fit_of_many_labels_a_row():
    X = readers.read("iris").X
    np.savez("t.npz", X=X, y=np.column_stack([X[:, 0] > 5.8, X[:, 2] > 3]).astype(np.uint8))
    said = _json("fit", "t.npz", "--loss", "sigmoid", "--out", "m")
    assert said["train_accuracy"] > 0.8
    scored = _json("score", "m", "t.npz")
    assert scored["accuracy"] == said["train_accuracy"]
    # the mean over the rows of the loss summed over the labels is the objective less its penalty
    fitted = SoftmaxRegression.load("m")
    penalty = (fitted.coef_**2).sum() / (2 * len(X))
    assert math.isclose(scored["log_loss"], fitted.objective_ - penalty, rel_tol=1e-12)


def test_fit_of_two_classes_by_sigmoid_is_the_binary_model():
    softmax, sigmoid = (_json("fit", "breast_cancer", "--loss", loss) for loss in ("softmax", "sigmoid"))
    assert sigmoid["objective"] == softmax["objective"]
    assert sigmoid["test_accuracy"] == softmax["test_accuracy"] > 0.9


def test_fit_of_soft_labels():
    table = readers.read("iris")
    np.savez("t.npz", X=table.X, y=0.9 * np.eye(3)[table.y] + 0.1 / 3)
    said = _json("fit", "t.npz", "--out", "m")
    assert said["train_accuracy"] > 0.9
    assert _json("score", "m", "t.npz")["accuracy"] == said["train_accuracy"]


def test_fit_draws():
    pytest.importorskip("matplotlib")
    assert _json("fit", "wine", "--plot", "loss.png")["plot"] == "loss.png"
    assert Path("loss.png").read_bytes().startswith(b"\x89PNG")
    assert _run("fit", "wine", "--plot", "loss.svg").exit_code == 0


def test_fit_draws_what_suits_the_data(monkeypatch):
    pytest.importorskip("matplotlib")
    from fastsoftmax import plot

    figures = []

    def kept(*args, **options):
        figures.append(overview(*args, **options))
        return figures[-1]

    overview = plot.overview
    monkeypatch.setattr(plot, "overview", kept)
    _frame()[["c", "d", "species"]].to_csv("two.csv", index=False)
    np.savez("soft.npz", X=readers.read("iris").X, y=0.9 * np.eye(3)[readers.read("iris").y] + 0.1 / 3)
    for data in ("two.csv", "digits", "iris", "soft.npz"):
        _json("fit", data, "--plot", "p.png")
    regions, images, counts, curve = figures
    assert (regions.axes[0].get_xlabel(), regions.axes[0].get_ylabel()) == ("c", "d")
    assert [text.get_text() for text in regions.axes[0].get_legend().get_texts()] == SPECIES.tolist()
    assert [axes.get_title() for axes in images.axes[:10]] == list("0123456789")
    assert "of 30 test rows right" in counts.axes[0].get_title()
    assert [text.get_text() for text in counts.axes[0].get_xticklabels()] == SPECIES.tolist()
    assert len(curve.axes) == 4
    assert images.get_suptitle() == "digits: 1,442 rows × 64 features, C = 1"


def test_fit_warns_in_one_line():
    result = _run("fit", "wine", "--max-iter", "1", "--tol", "1e-12", "--out", "m")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith("fastsoftmax: warning: ")
    assert Path("m").exists()


def test_fit_failures_before_the_fit(monkeypatch):
    frame = _frame()
    frame.to_csv("t.csv", index=False)
    frame.assign(species="tulip").to_csv("other.csv", index=False)
    frame.drop(columns="a").to_csv("narrow.csv", index=False)
    frame.assign(species=1).to_csv("numbers.csv", index=False)
    monkeypatch.setattr(SoftmaxRegression, "fit", None)  # calling it would be a TypeError, not these lines
    assert "'no.csv' does not exist" in _fails("fit", "no.csv")
    assert "there is no folder" in _fails("fit", "t.csv", "--out", "no/m")
    assert "there is no folder" in _fails("fit", "t.csv", "--plot", "no/m.png")
    assert "no column 'z'" in _fails("fit", "t.csv", "--target", "z")
    assert "do not know" in _fails("fit", "t.csv", "--test", "other.csv").replace("does not", "do not")
    assert "lacks features of the model: a" in _fails("fit", "t.csv", "--test", "narrow.csv")
    assert "does not know these labels of the test data: 1" in _fails("fit", "t.csv", "--test", "numbers.csv")
    assert "test labels are of dtype <U10" in _fails("fit", "numbers.csv", "--test", "t.csv")


def test_fit_failures_in_the_fit():
    Path("m").write_bytes(b"the model before")
    np.savez("t.npz", X=np.array([[1.0], [np.nan]]), y=np.array([0, 1]))
    assert "NaN" in _fails("fit", "t.npz", "--out", "m")
    assert "nonsense" in _fails("fit", "iris", "--solver", "nonsense", "--out", "m")
    np.savez("t.npz", X=np.ones((3, 1)), y=np.zeros(3, dtype=int))
    _fails("fit", "t.npz", "--out", "m")


def test_no_half_written_model(monkeypatch):
    Path("m").write_bytes(b"the model before")

    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert _fails("fit", "iris", "--out", "m") == "fastsoftmax: No space left on device"


# predict, score, info


def test_predict_labels(model):
    frame = _frame()
    frame.to_csv("t.csv", index=False)
    expected = _load(model).predict(frame[["a", "b", "c", "d"]].to_numpy())
    said = _run("predict", model, "t.csv", "--target", "species")
    assert said.stdout.split() == ["species", *expected.tolist()]
    assert said.stderr == ""
    frame.drop(columns="species").to_csv("bare.csv", index=False)
    assert _run("predict", model, "bare.csv").stdout == said.stdout
    assert _json("predict", model, "bare.csv")["labels"] == expected.tolist()


def test_predict_proba(model):
    expected = _load(model).predict_proba(readers.read("iris").X_test)
    lines = _run("predict", model, "iris", "--proba").stdout.splitlines()
    assert lines[0] == "setosa,versicolor,virginica"
    # the digits printed give back every bit
    np.testing.assert_array_equal([[float(each) for each in line.split(",")] for line in lines[1:]], expected)
    assert _json("predict", model, "iris", "--proba")["proba"] == expected.tolist()


@pytest.mark.parametrize("proba", [[], ["--proba"]])
def test_predict_to_files(model, proba):
    name = "proba" if proba else "labels"
    printed = _run("predict", model, "iris", *proba).stdout
    for suffix in ("csv", "npy", "npz"):
        said = _run("predict", model, "iris", *proba, "--out", f"p.{suffix}")
        assert said.stdout == f"{name} of 30 rows written to p.{suffix}\n"
    assert Path("p.csv").read_text() == printed
    values = np.load("p.npy", allow_pickle=False)
    with np.load("p.npz", allow_pickle=False) as parts:
        np.testing.assert_array_equal(parts[name], values)
        np.testing.assert_array_equal(parts["classes"], SPECIES)
    assert len(values) == 30
    assert _json("predict", model, "iris", *proba, "--out", "p.npy")["rows"] == 30


def test_labels_with_commas_stay_whole():
    _frame().assign(species=lambda frame: frame["species"] + ", wild").to_csv("t.csv", index=False)
    assert _run("fit", "t.csv", "--out", "m").exit_code == 0
    assert _run("predict", "m", "iris").stdout.startswith('species\n"setosa, wild"\n')


def test_labels_come_back_as_they_were():
    for labels in (np.arange(120) % 2 == 0, np.arange(120) % 3 + 5, np.arange(120, dtype=np.uint8) % 2):
        np.savez("t.npz", X=readers.read("iris").X, y=labels)
        assert _run("fit", "t.npz", "--out", "m").exit_code == 0
        assert _run("predict", "m", "t.npz", "--out", "p.npy").exit_code == 0
        assert np.load("p.npy").dtype == labels.dtype


def test_score(model):
    _frame().to_csv("t.csv", index=False)
    said = _json("score", model, "t.csv")
    fitted = _load(model)
    X, y = load_iris(return_X_y=True)
    assert said["accuracy"] == fitted.score(X, SPECIES[y])
    expected = -math.fsum(fitted.predict_log_proba(X)[np.arange(150), y]) / 150
    assert math.isclose(said["log_loss"], expected, rel_tol=1e-14 * 150)
    assert "nats a row" in _run("score", model, "t.csv").stdout


def test_score_failures(model):
    assert "labels are of dtype" in _fails("score", model, "iris")
    assert "'digits' has 64 features, the model takes 4" in _fails("score", model, "digits")
    np.savez("t.npz", X=np.ones((1, 4)), y=np.array(["tulip"]))
    assert "does not know these labels of the test data: tulip" in _fails("score", model, "t.npz")
    np.savez("t.npz", X_train=np.ones((1, 4)), y_train=np.array(["setosa"]), X_test=np.ones((1, 4)))
    assert "no labels for its test part" in _fails("score", model, "t.npz")


def test_info(model):
    said = _json("info", model)
    fitted = _load(model)
    assert said["classes"] == SPECIES.tolist()
    assert (said["features"], said["coef_shape"]) == (4, [3, 4])
    assert (said["objective"], said["duality_gap"]) == (fitted.objective_, fitted.duality_gap_)
    assert said["solver"] == fitted.solver_
    assert said["written_by"]["fastsoftmax"] == fastsoftmax.__version__
    assert "setosa, versicolor, virginica" in _run("info", model).stdout


@pytest.mark.parametrize("command", [("info",), ("score", "iris"), ("predict", "iris")])
def test_bad_model_files(model, command):
    name, *data = command
    whole = Path(model).read_bytes()
    assert "'no' does not exist" in _fails(name, "no", *data)
    for content in (
        b"",
        whole[:-1],
        whole[: len(whole) // 2],
        b"PK\x03\x04" + whole,
        whole.replace(b"setosa", b"sitosa"),
    ):
        Path("bad").write_bytes(content)
        assert "'bad'" in _fails(name, "bad", *data)


@pytest.mark.data
def test_real_sparse_data_from_fit_to_score(data_dir):
    data = data_dir / "ag_news_7600.npz"
    said = _json("fit", data, "--C", 10, "--out", "m")
    assert "TF-IDF" in said["notes"][0]
    assert said["test_accuracy"] > 0.87  # the folder's README measured 0.882 short of the optimum
    assert _json("score", "m", data)["accuracy"] == said["test_accuracy"]
    assert container.load("m")[0]["coef"].shape == (4, 19812)


def test_standardised_columns_are_penalised_alike():
    frame = _frame().assign(a=lambda rows: 1e4 * rows.a)
    frame.to_csv("units.csv", index=False)
    _json("fit", "units.csv", "--standardize", "--out", "m")
    fitted = SoftmaxRegression(standardize=True).fit(frame[["a", "b", "c", "d"]].to_numpy(), frame.species)
    np.testing.assert_array_equal(_load("m").coef_, fitted.coef_)
    assert _load("m").standardize


def test_penalties_are_chosen_by_cross_validation(model):
    iris = str(Path(model).parent / "iris.csv")
    options = {"l1_ratios": [0.5, 1.0], "cv": 3, "use_legacy_attributes": False}
    X, y = _frame().to_numpy()[:, :4].astype(float), _frame()["species"].to_numpy()
    for words, more in (
        ((), {"scoring": "neg_log_loss"}),
        (
            ("--selection", "one_standard_error", "--scoring", "accuracy"),
            {"selection": "one_standard_error", "scoring": "accuracy"},
        ),
    ):
        ratios = ("--l1-ratio", "0.5", "--l1-ratio", "1")
        told = _json("fit", iris, "--cv", "3", *ratios, *words, "--out", "chosen.safetensors")
        own = SoftmaxRegressionCV(**options, **more).fit(X, y)
        assert (told["C"], told["l1_ratio"]) == (own.C_, own.l1_ratio_)
        assert told["nonzero_coefficients"] == np.count_nonzero(own.coef_) < told["coefficients"]
        scores = own.scores_[:, list(own.l1_ratios_).index(own.l1_ratio_), list(own.Cs_).index(own.C_)]
        assert told["cv_score"] == pytest.approx(scores.mean())
        assert told["cv_score_standard_error"] == pytest.approx(scores.std(ddof=1) / np.sqrt(3))
        assert told["cv_folds"] == 3
        np.testing.assert_array_equal(_load("chosen.safetensors").coef_, own.coef_)
    result = _run("fit", iris, "--l1-ratio", "1")
    assert "of 12 are not zero" in result.stdout
    assert _json("fit", iris, "--l1-ratio", "1")["cv_score"] is None


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (("--cv", "3", "--C", "2"), 2, "exclude each other"),
        (("--selection", "best"), 2, "goes with --cv"),
        (("--l1-ratio", "0", "--l1-ratio", "1"), 2, "go with --cv"),
        (("--l1-ratio", "1.5"), 2, "is not from 0 to 1"),
        (("--cv", "3", "--scoring", "none"), 2, "none of scikit-learn's"),
        (("--cv", "500"), 1, "number of splits"),
        (("--l1-ratio", "0.5", "--solver", "lbfgs"), 1, "supports only"),
        (("--cv", "3", "--memory", "1M"), 1, "--cv takes rows in memory"),
    ],
)
def test_penalties_that_cannot_be_chosen(model, words, status, text):
    result = _run("fit", Path(model).parent / "iris.csv", *words)
    assert result.exit_code == status
    assert text in " ".join(result.stderr.replace("│", " ").split())
    assert status == 2 or result.stderr.count("\n") == 1


def test_what_is_confused_and_what_weighs_most():
    said = _json("fit", "iris", "--top", 2)
    table = readers.read("iris")
    fitted = SoftmaxRegression().fit(table.X, table.y)
    wrong = np.flatnonzero((taken := fitted.predict(table.X_test)) != table.y_test)
    pairs = {(int(table.y_test[i]), int(taken[i])) for i in wrong}
    assert {(each["label"], each["taken_for"]) for each in said["test_confusions"]} == pairs
    assert sum(each["rows"] for each in said["test_confusions"]) == len(wrong)
    assert all(each["of"] == (table.y_test == each["label"]).sum() for each in said["test_confusions"])
    weights = fitted.coef_ * table.X.std(axis=0)
    for each, row in zip(said["top"], weights, strict=True):
        order = np.argsort(-abs(row))[:2]
        assert [one["feature"] for one in each["features"]] == [table.feature_names[j] for j in order]
        assert [one["by_deviation"] for one in each["features"]] == pytest.approx(row[order])
    text = _run("fit", "iris", "--top", 2).stdout
    assert "most confused" in text
    assert "largest of setosa" in text
    assert _json("fit", "breast_cancer", "--top", 1)["top"][0]["label"] == 1  # one row of coefficients
