"""Text tables as they are found: other separators, names that are numbers, labels that look like numbers."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest

from fastsoftmax.data.readers import Request, read
from fastsoftmax.data.readers.header import is_header
from fastsoftmax.data.readers.text_labels import converted

X = np.array([[0.5, 1.25], [3.5, 0.75], [0.25, 0.5], [7.5, -1.5], [1.5, 2.25], [0.75, 3.5]])
KIND = ["glass", "wood", "glass", "wood", "steel", "steel"]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _frame():
    return pandas.DataFrame(X, columns=["a", "b"]).assign(kind=KIND)


def _written(text, name="t.csv"):
    Path(name).write_text(text)
    return name


def _refuses(source, match, **request):
    with pytest.raises(ValueError, match=match) as caught:
        read(source, Request(**request))
    assert "\n" not in str(caught.value)
    assert "np." not in str(caught.value)


def test_readers_import_nothing_heavy():
    script = (
        "import sys, fastsoftmax.data.readers\n"
        "print(sorted({'numba', 'pandas', 'scipy', 'sklearn'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# Separators


@pytest.mark.parametrize(("sep", "said"), [(";", "';'"), ("\t", "a tab"), ("|", "'|'"), (" ", "blanks")])
def test_the_separator_is_found_and_said(sep, said):
    _frame().to_csv("t.csv", sep=sep, index=False)
    table = read("t.csv")
    np.testing.assert_array_equal(table.X, X)
    assert table.y.tolist() == KIND
    assert table.notes == (f"columns are separated by {said}",)


def test_the_separator_can_be_given():
    _frame().to_csv("t.csv", sep=":", index=False)
    np.testing.assert_array_equal(read("t.csv", Request(sep=":")).X, X)
    _written("a,b;kind\n1,2;x\n3,4;y\n")  # either would do
    assert read("t.csv", Request(sep=",")).feature_names == ("a",)


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz"])
def test_tab_separated_files(name):
    _frame().to_csv(name, sep="\t", index=False)
    table = read(name)
    np.testing.assert_array_equal(table.X, X)
    assert table.notes == ()


def test_decimal_commas():
    _frame().to_csv("t.csv", sep=";", decimal=",", index=False)
    table = read("t.csv")
    np.testing.assert_array_equal(table.X, X)
    assert "numbers are read with a decimal comma" in table.notes


def test_separators_within_quotes_do_not_count():
    frame = _frame().assign(kind=[f"{each}; x|y" for each in KIND])
    frame.to_csv("t.csv", index=False, quoting=1)
    table = read("t.csv")
    np.testing.assert_array_equal(table.X, X)
    assert table.y.tolist() == frame["kind"].tolist()


def test_blanks_after_separators_and_a_byte_order_mark():
    Path("t.csv").write_bytes(b"\xef\xbb\xbfa, b, kind\n1, 2, x y\n3, 4, z\n")
    table = read("t.csv")
    assert table.feature_names == ("a", "b")
    assert table.y.tolist() == ["x y", "z"]


def test_wide_rows_are_seen_whole():
    names = [f"a rather long name of a column {j}" for j in range(5_000)]
    pandas.DataFrame(np.ones((3, 5_000)), columns=names).assign(kind=["x", "y", "x"]).to_csv(
        "t.csv", index=False
    )
    assert read("t.csv").X.shape == (3, 5_000)


# Names


def _below(*rows):
    return "".join(f"{row}\n" for row in rows)


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        ("400.5,401.0,material", ["0.1,0.2,glass", "0.3,0.1,wood", "0.2,0.5,glass"]),
        ("7157,672,kind", ["0.1,0.2,1", "0.3,0.1,0", "0.2,0.5,1"]),
        ("7157,672,1956", ["0.1,0.2,1", "0.3,0.1,0", "0.2,0.5,1", "0.4,0.4,0"]),
        ("0,1,2", ["0.1,0.2,1", "0.3,0.1,0", "0.2,0.5,1"]),
        ("2019,2020,yes/no", ["5,7,yes", "6,9,no", "5,9,yes"]),
        (",0,1", ["0,5,1", "1,6,0", "2,5,1"]),
    ],
)
def test_numbers_that_are_names(first, rows):
    _written(_below(first, *rows))
    assert len(read("t.csv").y) == len(rows)


@pytest.mark.parametrize(
    ("first", "rows"),
    [
        ("0,1,yes", ["1,0,no", "2,1,yes", "1,1,no"]),
        ("5.1,3.5,setosa", ["4.9,3.0,setosa", "7.0,3.2,versicolor", "6.4,3.2,versicolor"]),
        ("1,2,0", ["3,4,1", "5,1,0", "1,1,1"]),
        ("1,1,0", ["3,4,1", "5,1,0", "1,1,1"]),
        ("?,2,yes", ["1,3,no", "5,2,yes"]),
        ("1,4,x", ["3,4,y"]),
    ],
)
def test_rows_that_are_no_names(first, rows):
    _written(_below(first, *rows))
    table = read("t.csv") if "?" not in first else None
    if table is None:
        _refuses("t.csv", r"column 'x0' has '\?' in data row 1")
        return
    assert len(table.y) == len(rows) + 1
    assert "no header row" in table.notes[0]


def test_what_was_decided_is_said_and_can_be_said_otherwise():
    _written("400.5,401.0,material\n0.1,0.2,glass\n0.3,0.1,wood\n0.2,0.5,glass\n")
    table = read("t.csv")
    assert table.feature_names == ("400.5", "401.0")
    assert "the first row (400.5, 401.0, material) is taken for column names" in table.notes[0]
    assert len(read("t.csv", Request(header=False)).y) == 4
    _written("0,1,yes\n1,0,no\n2,1,yes\n")
    assert read("t.csv", Request(header=True)).feature_names == ("0", "1")


def test_names_that_a_model_has_are_names():
    assert is_header([["7", "8"], ["7", "8"], ["7", "8"]], labelled=False, known=("7", "8")) == (True, ())
    assert not is_header([["7", "8"], ["7", "8"], ["7", "8"]], labelled=False)[0]


# Labels


@pytest.mark.parametrize(
    "labels",
    [
        *(["0111", "111"], ["01001", "1001"], ["1e3", "1000"], ["1", "1.0"], ["+1", "-1"], ["NA", "None"]),
        *(["null", "nan"], ["true", "false"], ["inf", "1"], ["1_0", "10"], ["-0", "0"], ["9" * 30, "1"]),
    ],
)
def test_labels_stay_as_they_stand(labels):
    _written("a,kind\n" + "".join(f"{j}.5,{labels[j % 2]}\n" for j in range(6)))
    assert read("t.csv").y.tolist() == labels * 3


@pytest.mark.parametrize(
    ("labels", "kind"),
    [(["1", "2"], "i"), (["-1", "1"], "i"), (["1.0", "2.0"], "f"), (["True", "False"], "b")],
)
def test_labels_that_are_numbers_for_good(labels, kind):
    _written("a,kind\n" + "".join(f"{j}.5,{labels[j % 2]}\n" for j in range(6)))
    y = read("t.csv").y
    assert y.dtype.kind == kind
    assert y.astype(str).tolist() == labels * 3


def test_measurements_are_no_labels():
    # text would make a class of every price, and an estimator could not refuse them
    assert converted(["10.50", "9.99", "12.00"])[0].dtype == np.float64


def test_only_empty_cells_are_missing_labels():
    _written("a,kind\n1.5,NA\n2.5,\n3.5,  \n4.5,x\n")
    _refuses("t.csv", "column 'kind' has 2 empty cells, the first in data row 2")
    table = read("t.csv", Request(drop_missing=True))
    assert table.y.tolist() == ["NA", "x"]
    assert table.notes == ("2 of 4 rows have empty cells and were left out (--drop-missing)",)


# Cells


def test_the_first_bad_cell_is_named():
    _written("a,b,kind\n1,2,x\n3,?,y\n5,6,x\n7,?,y\n9,8,x\n")
    _refuses("t.csv", r"column 'b' has '\?' in data row 2, which is no number; 2 of its cells are not")
    assert read("t.csv", Request(drop_missing=True)).X.tolist() == [[1, 2], [5, 6], [9, 8]]


def test_rows_are_counted_in_the_file_and_not_in_what_was_left():
    _written("a,b,kind\n,2,x\n3,4,y\n5,huh,x\n7,5,y\n9,8,x\n")
    _refuses("t.csv", "column 'b' has 'huh' in data row 3", drop_missing=True)


def test_text_columns_are_refused_with_what_encodes_them():
    _written("a,town,kind\n1,Ulm,x\n2,Bonn,y\n")
    _refuses("t.csv", r"'town' does not hold numbers \(it has 'Ulm'\).*OneHotEncoder\(\), \['town'\]")
    table = read("t.csv", Request(drop=("town",)))
    assert table.feature_names == ("a",)
    np.testing.assert_array_equal(table.X, [[1], [2]])


# Columns


def test_a_pandas_index_is_no_feature():
    _frame().to_csv("t.csv")
    table = read("t.csv")
    np.testing.assert_array_equal(table.X, X)
    assert table.notes == ("the first column has no name: taken for row numbers and left out",)
    pandas.read_csv("t.csv").to_csv("twice.csv")
    np.testing.assert_array_equal(read("twice.csv").X, X)
    asked = read("t.csv", Request(features=("0", "a")))
    np.testing.assert_array_equal(asked.X, np.column_stack([np.arange(6), X[:, 0]]))


def test_a_column_that_numbers_the_rows_is_noted():
    _frame().assign(id=[103, 101, 102, 106, 104, 105])[["id", "a", "b", "kind"]].to_csv("t.csv", index=False)
    assert read("t.csv").notes == ("column 'id' numbers the rows: is it an index? --drop id leaves it out",)
    assert read("t.csv", Request(drop=("id",))).notes == ()


def test_features_weights_and_names_of_rows():
    frame = _frame().assign(w=range(6), row=[f"0{j}" for j in range(6)])[["row", "b", "w", "a", "kind"]]
    frame.to_csv("t.csv", index=False)
    table = read("t.csv", Request(weight="w", ids="row"))
    assert table.feature_names == ("b", "a")
    np.testing.assert_array_equal(table.weight, np.arange(6.0))
    assert table.ids.tolist() == ["00", "01", "02", "03", "04", "05"]
    table = read("t.csv", Request(features=("a", "1"), target="kind"))
    np.testing.assert_array_equal(table.X, X)
    _refuses("t.csv", "column 'a' is asked for twice", features=("a",), weight="a")
    _refuses("t.csv", "no column 'z'", drop=("z",))
    _refuses("t.csv", "no column left for the labels", features=("0", "1", "2", "3", "4"))


def test_weights_and_names_in_an_npz():
    np.savez("t.npz", X=X, y=np.array(KIND), w=np.arange(6), rows=np.arange(6) * 2)
    table = read("t.npz", Request(weight="w", ids="rows", drop=("0",)))
    np.testing.assert_array_equal(table.X, X[:, 1:])
    np.testing.assert_array_equal(table.weight, np.arange(6))
    assert table.ids.tolist() == ["0", "2", "4", "6", "8", "10"]
    _refuses("t.npz", "no array 'v'", weight="v")


def test_formats_in_place_of_suffixes():
    _frame().to_csv("t.data", index=False)
    np.testing.assert_array_equal(read("t.data", Request(format="csv")).X, X)
    _refuses("t.data", "cannot tell what kind")
    Path("t.libsvm").write_bytes(b"1 1:2\n0 2:1\n")
    np.testing.assert_array_equal(read("t.libsvm").X.toarray(), [[2, 0], [0, 1]])
    Path("t.libsvm.gz").write_bytes(gzip.compress(b"1 1:2\n0 2:1\n"))
    np.testing.assert_array_equal(read("t.libsvm.gz").X.toarray(), [[2, 0], [0, 1]])
    _refuses("t.libsvm", "takes no --drop", drop=("1",))


@pytest.mark.parametrize("form", [None, "csv", "npy", "svm"])
def test_standard_input(monkeypatch, form):
    content = _frame().to_csv(index=False).encode()
    if form == "npy":
        file = io.BytesIO()
        np.save(file, np.column_stack([X, [0, 1, 0, 1, 2, 2]]))
        content = file.getvalue()
    elif form == "svm":
        content = b"".join(b"%d 1:%g 2:%g\n" % (j % 3, *X[j]) for j in range(6))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    table = read("-", Request(format=form))
    np.testing.assert_array_equal(table.X.toarray() if form == "svm" else table.X, X)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    _refuses("-", "'standard input' is empty")


# Ends of lines


def test_separators_at_the_ends_of_lines():
    _written("a,b,kind,\n1,2,x,\n3,4,y,\n")
    assert read("t.csv").feature_names == ("a", "b")
    _written("1,2,x,,\n3,5,y,,\n1,9,x,,\n")
    assert read("t.csv").X.shape == (3, 2)
    _written("a,b,kind,\n" + "1,2,x,\n" * 1200 + "3,4,y,5\n")
    _refuses("t.csv", "more cells than the header")


@pytest.mark.parametrize("first", ["0", "1", '"1"', "r1"])
def test_names_of_rows_without_a_name_of_their_column_are_refused(first):
    # as R writes a table; pandas would make an index of them without a word
    _written(f"a,b,kind\n{first},1,2,x\n{'2' if first != '0' else '1'},3,4,y\n")
    _refuses("t.csv", "more cells than the header")


def test_nothing_is_left():
    _written("a;b;kind\n1;2;x\n3;4;y\n")
    _refuses("t.csv", "no column left for features; its columns: a;b;kind", sep=",")
    _refuses("t.csv", "weight column 'kind' does not hold numbers", weight="kind", target="b")


def test_text_under_the_name_of_an_archive():
    # NumPy's own message advises to unpickle it
    _written("1,2\n", "t.npz")
    _refuses("t.npz", "it holds Python objects, which are not read, or something else than arrays")
