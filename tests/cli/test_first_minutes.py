"""What a newcomer does with ordinary files: each column goes where it belongs, and it is said where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_iris
from typer.testing import CliRunner

from fastsoftmax import SoftmaxRegression, load
from fastsoftmax.cli.app import app
from fastsoftmax.persistence import container

SPECIES = np.array(["setosa", "versicolor", "virginica"])
NAMES = ["a", "b", "c", "d"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _frame():
    bunch = load_iris()
    return pandas.DataFrame(bunch.data, columns=NAMES).assign(species=SPECIES[bunch.target])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of the flowers in `_frame`."""
    folder = tmp_path_factory.mktemp("model")
    _frame().to_csv(folder / "iris.csv", index=False)
    assert _run("fit", folder / "iris.csv", "--out", folder / "m").exit_code == 0
    return str(folder / "m")


def _run(*words, stdin=None):
    return CliRunner().invoke(app, [str(word) for word in words], input=stdin)


def _json(*words):
    result = _run(*words, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)


def _fails(*words, status=1):
    result = _run(*words)
    assert result.exit_code == status
    assert result.stdout == ""
    if status == 2:
        return " ".join(result.stderr.replace("│", "").split())
    (line,) = result.stderr.splitlines()
    return line


def _svm(name, indices):
    Path(name).write_text("".join(f"{k % 4} {index}:1\n" for k, index in enumerate(indices)))


def test_a_session():
    # a CSV as pandas writes it, with its index, text labels and a gap
    frame = _frame()
    frame.loc[7, "b"] = np.nan
    frame.to_csv("flowers.csv")
    assert "column 'b' has 1 empty cells, the first in data row 8; --drop-missing" in _fails(
        "fit", "flowers.csv"
    )
    said = _run("fit", "flowers.csv", "--drop-missing", "--test-size", 0.2, "--out", "m").stdout
    rows = {line[:14].strip(): line[17:].strip() for line in said.splitlines() if line[:1].strip()}
    assert rows["label"] == "species"
    assert rows["features"] == "a, b, c, d"
    assert rows["classes"] == "3   setosa, versicolor, virginica"
    assert "the first column has no name: taken for row numbers and left out" in said
    assert "1 of 150 rows have empty cells and were left out" in said
    assert "30 of 149 rows, drawn from each class with seed 0, are held out as test data" in said
    assert float(rows["test accuracy"].partition("%")[0]) > 90
    scored = _json("score", "m", "flowers.csv", "--drop-missing")
    assert scored["rows"] == 149
    assert "the first in data row 8; --drop-missing leaves such rows out (with --id)" in _fails(
        "predict", "m", "flowers.csv"
    )
    assert "--drop-missing needs --id" in _fails("predict", "m", "flowers.csv", "--drop-missing", status=2)
    options = "--drop-missing", "--id", "0", "--out", "p.csv"
    assert _run("predict", "m", "flowers.csv", *options).exit_code == 0
    predicted = pandas.read_csv("p.csv", index_col=0)
    assert predicted.columns.tolist() == ["species"]
    assert predicted.index.tolist() == frame.dropna().index.tolist()
    assert (predicted["species"] == frame.dropna()["species"]).mean() == scored["accuracy"]


# Columns by name


def test_a_model_from_before_that_was_fitted_on_an_index():
    frame = _frame()
    X = np.column_stack([np.arange(150.0), frame[NAMES].to_numpy()])
    before = SoftmaxRegression().fit(X, frame["species"].to_numpy())
    before.feature_names_in_ = np.array(["", *NAMES], dtype=object)
    before.save("m")
    frame.to_csv("t.csv")
    del before.feature_names_in_
    assert _json("score", "m", "t.csv")["accuracy"] == before.score(X, frame["species"].to_numpy())
    frame.drop(columns="species").to_csv("t.csv")
    assert _json("predict", "m", "t.csv")["labels"] == before.predict(X).tolist()


def test_predict_takes_the_table_that_score_took(model):
    frame = _frame()
    frame.to_csv("t.csv", index=False)
    expected = load(model).predict(frame[NAMES])
    scored = _json("score", model, "t.csv")
    said = _json("predict", model, "t.csv")
    assert said["labels"] == expected.tolist()
    assert said["notes"] == ["column 'species' holds the labels: not used"]
    assert scored["accuracy"] == np.mean(np.array(said["labels"]) == frame["species"])
    result = _run("predict", model, "t.csv")
    assert result.stderr == "fastsoftmax: note: column 'species' holds the labels: not used\n"


def test_columns_in_another_order_and_others_beside_them(model):
    frame = _frame()
    other = frame[["species", "d", "b", "a", "c"]].assign(town="Ulm", e=np.nan)
    other.to_csv("t.csv")
    said = _json("predict", model, "t.csv")
    assert said["labels"] == load(model).predict(frame[NAMES]).tolist()
    assert "the columns are in another order than the model's: taken by their names" in said["notes"]
    assert "left out, as the model has no such features: town, e" in said["notes"]
    assert _json("score", model, "t.csv")["accuracy"] == np.mean(np.array(said["labels"]) == frame["species"])
    frame[["a", "c", "species"]].to_csv("t.csv", index=False)
    assert "lacks features of the model: b, d (it has 3 columns" in _fails("predict", model, "t.csv")
    frame.rename(columns={"species": "kind"}).to_csv("t.csv", index=False)
    assert "no column 'species', which held the labels" in _fails("score", model, "t.csv")
    assert _json("score", model, "t.csv", "--target", "kind")["rows"] == 150


def test_names_in_an_npz():
    bunch = load_iris()
    np.savez("t.npz", X=bunch.data, y=bunch.target, feature_names=np.array(NAMES))
    assert _run("fit", "t.npz", "--out", "m").exit_code == 0
    expected = _json("predict", "m", "t.npz")["labels"]
    order = [2, 0, 1, 3]
    np.savez("t.npz", X=bunch.data[:, order], feature_names=np.array(NAMES)[order])
    assert _json("predict", "m", "t.npz")["labels"] == expected
    frame = pandas.DataFrame(bunch.data, columns=NAMES).assign(y=bunch.target)
    frame.to_csv("t.csv", index=False)
    assert _json("predict", "m", "t.csv")["labels"] == expected
    assert _json("score", "m", "t.csv")["rows"] == 150
    np.savez("t.npz", X=bunch.data, feature_names=np.array(NAMES[:3]))
    assert "'feature_names' holds 3 names for 4 features" in _fails("predict", "m", "t.npz")
    np.savez("t.npz", X=bunch.data, feature_names=np.array([*NAMES[:3], "z"]))
    assert "lacks features of the model: d" in _fails("predict", "m", "t.npz")


@pytest.mark.parametrize("suffix", ["csv", "npy"])
@pytest.mark.parametrize("target", [0, 2, 4])
def test_tables_without_names(suffix, target):
    bunch = load_iris()
    whole = np.insert(bunch.data, target, bunch.target, axis=1)
    if suffix == "npy":
        np.save("t.npy", whole)
        np.save("bare.npy", bunch.data)
    else:
        np.savetxt("t.csv", whole, delimiter=",", fmt="%g")
        np.savetxt("bare.csv", bunch.data, delimiter=",", fmt="%g")
    said = _json("fit", f"t.{suffix}", "--target", target, "--out", "m")
    assert said["target"] == str(target)
    assert _json("score", "m", f"t.{suffix}")["accuracy"] == said["train_accuracy"]
    predicted = _json("predict", "m", f"t.{suffix}")
    assert (
        f"left out, as when the model was fitted: column {'' if suffix == 'npy' else 'x'}{target}"
        in (predicted["notes"])
    )
    assert predicted["labels"] == _json("predict", "m", f"bare.{suffix}")["labels"]


# svmlight: where indices start


def test_the_first_index_is_the_models():
    _svm("train.svm", [0, 1, 2, 3] * 3)
    assert _run("fit", "train.svm", "--out", "m").exit_code == 0
    _svm("new.svm", [1, 2, 3])
    assert _json("predict", "m", "new.svm")["labels"] == [1, 2, 3]
    assert _json("info", "m")["index_base"] == 0
    _svm("new.svm", [1, 4])
    assert "line 2 has index 4, beyond the 4 features of the model, which are 0 to 3" in _fails(
        "predict", "m", "new.svm"
    )
    # the same rows in a file that counts from 1
    _svm("new.svm", [2, 3, 4])
    said = _json("predict", "m", "new.svm", "--index-base", 1)
    assert said["labels"] == [1, 2, 3]
    assert "as asked for" in said["notes"][0]


def test_an_index_that_contradicts_the_first_is_refused():
    _svm("train.svm", [1, 2, 3, 4] * 3)
    said = _json("fit", "train.svm", "--out", "m")
    assert "indices are taken to start at 1" in said["notes"][0]
    assert _json("fit", "train.svm", "--index-base", 0)["features"] == 5
    Path("new.svm").write_text("# a remark\n1 2:1\n\n1 0:1 2:1\n")
    line = _fails("score", "m", "new.svm")
    assert "'new.svm': line 4 has index 0, but indices start at 1" in line
    assert line == _fails("predict", "m", "new.svm")
    assert "line 4 has index 0" in _fails("fit", "train.svm", "--test", "new.svm")
    _svm("new.svm", [2, 3])
    assert _json("fit", "train.svm", "--test", "new.svm")["test_accuracy"] == 0
    assert _json("predict", "m", "new.svm")["labels"] == [1, 2]


def test_a_model_file_from_before_says_that_it_guesses():
    _svm("train.svm", [0, 1, 2, 3] * 3)
    _json("fit", "train.svm", "--out", "m")
    arrays, header = container.load("m")
    del header["table"]
    container.save("m", arrays, header)
    _svm("new.svm", [1, 2, 3])
    said = _json("predict", "m", "new.svm")
    assert said["labels"] == [0, 1, 2]
    assert "indices are taken to start at 1, since none is 0" in said["notes"][0]
    assert _json("predict", "m", "new.svm", "--index-base", 0)["labels"] == [1, 2, 3]


# Labels


def test_labels_of_one_column():
    X, y = np.repeat(np.eye(3), 4, axis=0), np.repeat(np.arange(3), 4)
    np.savez("t.npz", X_train=X, y_train=y[:, None], X_test=X, y_test=y[:, None].astype(np.uint8))
    said = _json("fit", "t.npz", "--out", "m")
    assert (said["train_accuracy"], said["test_accuracy"]) == (1, 1)
    assert _json("score", "m", "t.npz")["accuracy"] == 1
    np.savez("t.npz", X=X, y=np.eye(2)[y % 2])
    assert "a matrix of 2 columns, the model has 3 classes" in _fails("score", "m", "t.npz")


@pytest.mark.parametrize("labels", [["0111", "111"], ["NA", "None"], ["1e3", "1000"], ["1.0", "2.0"]])
def test_predictions_are_written_as_the_labels_stood(labels):
    lines = [f"{j % 2}.{j},{labels[j % 2]}\n" for j in range(12)]
    Path("t.csv").write_text("a,kind\n" + "".join(lines))
    assert _json("fit", "t.csv", "--out", "m")["train_accuracy"] == 1
    assert _run("predict", "m", "t.csv").stdout.split() == ["kind", *labels * 6]
    # a test file in which all labels look like numbers
    Path("t.csv").write_text("a,kind\n" + "".join(lines[1::2]))
    assert _json("score", "m", "t.csv")["accuracy"] == 1


def test_measurements_are_not_taken_for_labels():
    frame = _frame()[["species", *NAMES]]
    frame.drop(columns="species").to_csv("t.csv", index=False)
    assert "'d', taken for the label, holds numbers with fractions (0.2); --target" in _fails("fit", "t.csv")
    frame.assign(d=np.arange(150)).drop(columns="species").to_csv("t.csv", index=False)
    said = _run("fit", "t.csv", "--max-iter", 1, "--tol", 1).stdout  # scikit-learn warns, too
    assert "'d', taken for the label, has 150 different values in 150 rows" in said
    frame.to_csv("t.csv", index=False)
    assert "column 'species' does not hold numbers (it has 'setosa'); name it with --target" in _fails(
        "fit", "t.csv"
    )


# Options


def test_features_drop_weights_and_classes():
    frame = _frame().assign(w=np.arange(150) % 3, row=np.arange(150) + 7)
    frame.to_csv("t.csv", index=False)
    options = "--target", "species", "--weight", "w", "--id", "row", "--drop", "b,c"
    said = _json("fit", "t.csv", *options, "--class-weight", "balanced", "--out", "m")
    assert said["feature_names"] == ["a", "d"]
    assert said["class_labels"] == SPECIES.tolist()
    fitted = SoftmaxRegression(class_weight="balanced").fit(
        frame[["a", "d"]].to_numpy(), frame["species"].to_numpy(), sample_weight=frame["w"]
    )
    assert said["objective"] == pytest.approx(fitted.objective_, rel=1e-6)
    assert _json("fit", "t.csv", "--target", "species", "--features", "a,d")["feature_names"] == ["a", "d"]
    lines = _run("predict", "m", "t.csv", "--id", "row", "--proba").stdout.splitlines()
    assert lines[0] == "row,setosa,versicolor,virginica"
    assert [line.partition(",")[0] for line in lines[1:]] == [str(j + 7) for j in range(150)]
    assert _json("predict", "m", "t.csv", "--id", "row")["id"][0] == "7"
    assert _run("predict", "m", "t.csv", "--id", "row", "--out", "p.npz").exit_code == 0
    assert np.load("p.npz")["id"][1] == "8"
    assert "no place for --id" in _fails("predict", "m", "t.csv", "--id", "row", "--out", "p.npy", status=2)


def test_one_against_rest():
    frame = _frame()
    X, y = frame[NAMES].to_numpy(), frame["species"].to_numpy()
    frame.to_csv("t.csv", index=False)
    said = _json("fit", "t.csv", "--multi-class", "ovr", "--class-weight", "balanced", "--out", "m")
    fitted = SoftmaxRegression(multi_class="ovr", class_weight="balanced").fit(X, y)
    assert said["objective"] == pytest.approx(fitted.objective_, rel=1e-6)
    assert load("m").multi_class == "ovr"
    np.testing.assert_allclose(load("m").predict_proba(frame[NAMES]), fitted.predict_proba(X), atol=1e-2)
    assert "'other' is not one of" in _fails("fit", "t.csv", "--multi-class", "other", status=2)


def test_a_part_held_out_is_the_same_each_time():
    _frame().iloc[:110].to_csv("t.csv", index=False)
    first, second = (_json("fit", "t.csv", "--test-size", 0.25, "--out", name) for name in "mn")
    assert (first["rows"], first["test_rows"]) == (82, 28)
    assert first["objective"] == second["objective"]
    _frame().iloc[[0, 1, 2, 3, 60, 61, 62, 63, 120]].to_csv("t.csv", index=False)  # a class of one row
    said = _json("fit", "t.csv", "--test-size", 0.5)
    assert (said["rows"], said["test_rows"], said["classes"]) == (5, 4, 3)
    assert "has one of its own" in _fails("fit", "iris", "--test-size", 0.2)
    assert "exclude each other" in _fails("fit", "t.csv", "--test-size", 0.2, "--test", "t.csv", status=2)
    for wrong in (0, 1, 1.5, "nan"):
        assert "is not between 0 and 1" in _fails("fit", "t.csv", "--test-size", wrong, status=2)


def test_standard_input(model):
    text = _frame().to_csv(index=False, sep="\t")
    result = _run("predict", model, "-", "--format", "tsv", stdin=text)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 151
    result = _run("fit", "-", "--json", stdin=text)
    assert json.loads(result.stdout)["notes"] == ["columns are separated by a tab"]
    assert "'x' is none of npz, npy, csv" in _fails("predict", model, "-", "--format", "x", status=2)


def test_separator_and_header():
    _frame().to_csv("t.csv", index=False, sep=":", header=False)
    said = _json("fit", "t.csv", "--sep", ":", "--no-header")
    assert (said["rows"], said["features"]) == (150, 4)
    assert "is no separator" in _fails("fit", "t.csv", "--sep", "ab", status=2)


def test_files_that_are_not_written_are_refused():
    for name in ("m.csv", "m.NPZ", "m.json", "m.png"):
        assert "but a model file is written" in _fails("fit", "iris", "--out", name, status=2)
    assert "ends in none of .png" in _fails("fit", "iris", "--plot", "p.npz", status=2)
    assert "ends in none of .csv" in _fails("predict", "m", "iris", "--out", "p.txt", status=2)


def test_picture_and_model_without_a_warning():
    pytest.importorskip("matplotlib")
    for names in (NAMES, ["a", "c"]):
        _frame()[[*names, "species"]].to_csv("t.csv", index=False)
        result = _run("fit", "t.csv", "--out", "m", "--plot", "p.png")
        assert (result.exit_code, result.stderr) == (0, "")
        assert load("m").feature_names_in_.tolist() == names


def test_arrays_that_nobody_asked_for():
    X, y = load_iris(return_X_y=True)
    junk = np.array([{}, None], dtype=object)
    np.savez("t.npz", X=X, y=y, junk=junk, class_names=SPECIES.astype(object))
    said = _json("fit", "t.npz", "--out", "m")
    assert said["notes"] == ["array 'class_names' holds Python objects and was not read"]
    np.savez("t.npz", X=X, y=junk)
    assert len(_json("predict", "m", "t.npz")["labels"]) == 150
    assert "array 'y' holds Python objects" in _fails("fit", "t.npz")


def test_cells_that_are_not_finite_are_named():
    X, y = load_iris(return_X_y=True)
    X[7, 2] = np.nan
    np.savez("t.npz", X=X, y=y)
    assert "column 2 (the first is 0) of the features holds NaN in row 8" in _fails("fit", "t.npz")
    assert _json("fit", "t.npz", "--drop-missing")["rows"] == 149
    X[7, 2] = -np.inf
    np.save("t.npy", np.column_stack([X, y]))
    assert "holds infinity in row 8" in _fails("fit", "t.npy")
    Path("t.svm").write_text("1 1:2\n0 2:nan\n")
    assert "column 1 (the first is 0) of the features holds NaN in row 2" in _fails("fit", "t.svm")


def test_columns_of_one_name():
    frame = _frame()[["a", "b", "species"]]
    frame.columns = ["a", "a", "species"]
    frame.to_csv("t.csv", index=False)
    said = _json("fit", "t.csv", "--out", "m")
    assert _json("score", "m", "t.csv")["accuracy"] == said["train_accuracy"]
    assert len(_json("predict", "m", "t.csv")["labels"]) == 150
    frame.assign(z=1).to_csv("t.csv", index=False)
    assert "columns 'a' cannot be told apart" in _fails("predict", "m", "t.csv")
