"""Law: whatever a file holds, it is read rightly or refused in one line; nothing in it is run.

How many cases: see `tests/fuzz/test_arguments.py`.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import fastsoftmax
from fastsoftmax import CalibratedClassifier, SoftmaxRegression
from fastsoftmax.data import readers
from fastsoftmax.persistence import container
from tests.fuzz.anything import examples, outcome

RAN = []


def go_off():
    RAN.append(1)


class Bomb:
    """What notes that it was unpickled."""

    def __reduce__(self):
        return go_off, ()


def archive(**parts):
    file = io.BytesIO()
    np.savez(file, allow_pickle=True, **parts)
    return file.getvalue()


def single(a):
    file = io.BytesIO()
    np.save(file, a, allow_pickle=True)
    return file.getvalue()


X = np.arange(12.0).reshape(4, 3)
Y = np.array([0, 1, 2, 1])
A = sp.csr_array(np.where(X % 2, X, 0))
BOMBS = np.array([[Bomb(), 1], [2, 3]], dtype=object)
PARTS = {"data": A.data, "indices": A.indices, "indptr": A.indptr, "shape": np.array(A.shape), "y": Y}
WHOLE = {
    ".npz": [
        archive(X=X, y=Y),
        archive(**PARTS),
        archive(X=BOMBS, y=Y),
        archive(**PARTS | {"indices": A.indices + 5}),
        archive(**PARTS | {"indices": A.indices - 1}),
        archive(**PARTS | {"indptr": A.indptr[::-1]}),
        archive(**PARTS | {"shape": np.array([-4, 3])}),
        archive(**PARTS | {"format": np.array(["csr", "csc"])}),
    ],
    ".npy": [single(X), single(np.c_[X, Y]), single(BOMBS), single(X.astype("U3")), single(Y)],
    ".csv": [
        b"a,b,label\n1,2,x\n3,4,y\n",
        b"1,2,0\n3,4,1\n",
        b'"a\nb",c\n1,2\n',
        b"a;b\n1;2\n",
        "ü,é\n1,2\n".encode(),
        b",a,b,label\n0,1,2,x\n1,?,4,y\n2,3,,x\n",
        b"400.5,401.0,kind\n0.1,0.2,0111\n0.3,0.5,111\n0.4,0.1,111\n",
        b"a|b|c\n1,5|2,5|NA\n1,7|2,1|\n",
    ],
    ".tsv": [b"a\tb\tlabel\n1\t2\tx\n3\t4\ty\n"],
    ".csv.gz": [gzip.compress(b"a,b,label\n1,2,x\n3,4,y\n", mtime=0)],
    ".svm": [b"1 1:0.5 3:2\n0 2:1\n", b"1 0:1 1:2\n", b"1,2 1:1\n", b"# nothing\n"],
    ".svm.gz": [gzip.compress(b"1 1:0.5 3:2\n0 2:1\n", mtime=0)],
}


MODELS = [
    readers.Expected(2, ("b", "a"), "label", text_labels=True),
    readers.Expected(2, left_out=(1,), target="1"),
    readers.Expected(3, index_base=0),
]


def spoilt(draw, whole):
    """Bytes with a few changes: cut, flipped, doubled, or strewn with numbers that sizes are made of."""
    raw = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        how = draw(st.sampled_from(["cut", "bit", "bit", "byte", "insert", "remove", "size", "digits"]))
        if how == "cut":
            del raw[at:]
        elif how == "bit" and raw:
            raw[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "byte" and raw:
            raw[at] = draw(st.sampled_from(b"\x00\xff,\n\"'-{[:9"))
        elif how == "insert":
            raw[at:at] = draw(st.binary(max_size=9))
        elif how == "remove":
            del raw[at : at + draw(st.integers(1, 9))]
        elif how == "size":
            raw[at : at + 8] = struct.pack("<Q", draw(st.sampled_from([2**31, 2**32 - 1, 2**63, 2**64 - 1])))
        else:
            raw[at:at] = b"9" * draw(st.sampled_from([3, 25]))
    return bytes(raw)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@examples(6_000)
@given(st.data(), st.sampled_from(sorted(WHOLE)))
def test_readers(folder, data, suffix):
    path = folder / f"data{suffix}"
    path.write_bytes(spoilt(data.draw, data.draw(st.sampled_from(WHOLE[suffix]))))
    target = data.draw(st.sampled_from([None, None, None, "label", "0", "-1", "99", "y"]))
    request = data.draw(
        st.builds(
            readers.Request,
            target=st.just(target),
            labelled=st.booleans(),
            model=st.sampled_from([None, *MODELS]),
            features=st.sampled_from([(), (), ("a",), ("1", "0")]),
            drop=st.sampled_from([(), (), ("b",), ("-1",)]),
            weight=st.sampled_from([None, None, "b", "1", "y"]),
            ids=st.sampled_from([None, None, "a", "0"]),
            drop_missing=st.booleans(),
            sep=st.sampled_from([None, None, ";", r"\s+"]),
            header=st.sampled_from([None, None, True, False]),
            index_base=st.sampled_from([None, 0, 1]),
        )
    )
    table, refusal = outcome(lambda: readers.read(str(path), request))
    assert not RAN
    if refusal is not None:
        assert "\n" not in str(refusal)
        return
    assert table.X.ndim == 2
    assert min(table.X.shape) > 0
    assert table.X.dtype.kind in "biuf"
    if sp.issparse(table.X):
        table.X.check_format(full_check=True)
    for part in (table.y, table.weight, table.ids):
        assert part is None or len(part) == table.X.shape[0]
    assert request.weight is None or table.weight is not None
    assert request.ids is None or table.ids is not None


def test_damage_in_the_header_of_an_array(folder):
    raw = bytearray(single(X))
    raw[10] ^= 1  # the brace that opens the header
    (folder / "t.npy").write_bytes(raw)
    with pytest.raises(ValueError, match="damaged"):
        readers.read(str(folder / "t.npy"))


def test_names_with_line_ends_are_shown_in_one_line(folder):
    (folder / "t.csv").write_text('"a\nb",c\n1,2\n')
    with pytest.raises(ValueError, match="it has 2 columns: a b, c"):
        readers.read(str(folder / "t.csv"), target="label")


@pytest.fixture(scope="module")
def saved(folder):
    model = SoftmaxRegression().fit(X, Y)
    model.save(folder / "model.safetensors")
    return folder / "model.safetensors"


@examples(4_000)
@given(st.data())
def test_models_with_changed_bytes(folder, saved, data):
    path = folder / "changed.safetensors"
    path.write_bytes(spoilt(data.draw, saved.read_bytes()))
    model, refusal = outcome(lambda: SoftmaxRegression.load(path))
    if refusal is not None:
        assert "\n" not in str(refusal)
        assert path.name in str(refusal)
        return
    right = SoftmaxRegression.load(saved)
    np.testing.assert_array_equal(model.coef_, right.coef_)
    np.testing.assert_array_equal(model.predict(X), right.predict(X))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
OTHER_ARRAYS = [
    np.zeros(3),
    np.zeros((3, 3)),
    np.zeros((3, 4)),
    np.zeros((1, 3)),
    np.zeros((0, 3)),
    np.zeros((3, 0)),
    np.zeros(()),
    np.full((3, 3), np.nan),
    np.zeros((3, 3, 1)),
    np.ones((3, 3), bool),
    np.zeros(1),
]


@examples(4_000)
@given(st.data())
def test_hostile_models_with_a_right_check_sum(folder, saved, data):
    # A check sum is no signature: who writes the file writes that, too.
    arrays, header = container.load(saved)
    draw = data.draw
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.booleans()):
            name = draw(st.sampled_from(["coef", "intercept", "precision"]))
            arrays[name] = draw(st.sampled_from(OTHER_ARRAYS))
        else:
            within = draw(st.sampled_from([header, header["parameters"], header["classes"]]))
            if isinstance(within, dict) and within:
                within[draw(st.sampled_from(sorted(within)))] = draw(ANY_JSON)
        if not all(isinstance(header[name], dict) for name in ("parameters", "classes")):
            break
    path = folder / "hostile.safetensors"
    container.save(path, arrays, header)
    model, refusal = outcome(lambda: SoftmaxRegression.load(path))
    if refusal is not None:
        assert "\n" not in str(refusal)
        assert path.name in str(refusal)
        return
    assert model.checkpoint is None
    proba, refusal = outcome(lambda: model.predict_proba(X))
    assert refusal is not None or proba.shape == (len(X), len(model.classes_))
    outcome(lambda: model.fit(X, Y))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "[" * 100_000,
            "{",
            "[]",
            "null",
            '{"parameters": {}}',
            '{"parameters": {"checkpoint": "elsewhere"}}',
        ),
        *('{"kind": ["CalibratedClassifier"]}', '{"kind": "CalibratedClassifier", "model": null}'),
    ],
    ids=["deep", "cut", "list", "null", "empty", "checkpoint", "kinds", "calibrated"],
)
@pytest.mark.parametrize("load", [SoftmaxRegression.load, fastsoftmax.load, CalibratedClassifier.load])
def test_hostile_headers(folder, text, load):
    from safetensors.numpy import save_file

    path = folder / "header.safetensors"
    arrays = {"coef": np.zeros((3, 3))}
    metadata = {
        "format": "fastsoftmax",
        "format_version": "1",
        "header": text,
        "sha256": container._digest(arrays, text),
    }
    save_file(arrays, path, metadata=metadata)
    with pytest.raises(ValueError, match=r"header\.safetensors") as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [2**20, 2**31, 2**63, 2**64 - 1])
def test_a_header_that_claims_any_size(folder, saved, size):
    path = folder / "size.safetensors"
    path.write_bytes(struct.pack("<Q", size) + saved.read_bytes()[8:])
    with pytest.raises(ValueError, match=r"size\.safetensors"):
        SoftmaxRegression.load(path)


def test_labels_that_would_fill_the_memory(folder, saved):
    arrays, header = container.load(saved)
    header["classes"]["dtype"] = f"<U{2**30}"
    header["classes"]["values"] = ["a", "b", "c"]
    container.save(folder / "wide.safetensors", arrays, header)
    with pytest.raises(ValueError, match=r"wide\.safetensors"):
        SoftmaxRegression.load(folder / "wide.safetensors")


def test_bombs_go_off_where_they_are_unpickled():
    # or else the tests above could not fail
    pickle.loads(pickle.dumps(Bomb()))
    assert RAN == [1]
    RAN.clear()


def test_nothing_is_unpickled():
    # but compiled kernels, which are sealed with a hash of their makers and lie where only the user writes,
    # and what Dask's processes send each other, pickles in any case; neither comes from a file of data
    package = Path(fastsoftmax.__file__).parent
    sources = {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")}
    words = ("import pickle", "from pickle", "cPickle", "cloudpickle", "joblib", "dill", "marshal", "shelve")
    found = [name for name, text in sources.items() if any(word in text for word in words)]
    assert sorted(found) == ["data/dask/alignment.py", "runtime/kernel_cache.py"]
    for name, text in sources.items():
        calls = [call.partition(")")[0] for call in text.split("np.load(")[1:]]
        assert all("allow_pickle=False" in call for call in calls), name
        assert "read_pickle" not in text, name
    assert sources["runtime/kernel_cache.py"].count("pickle.loads(") == 1
