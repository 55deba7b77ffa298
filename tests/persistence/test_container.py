"""Law: a model file is read back to the bit or refused in one line; it is replaced whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import struct
import sys

import numpy as np
import pytest

from fastsoftmax.persistence import container

ARRAYS = {
    "coef_": np.arange(15.0).reshape(3, 5) / 7,
    "intercept_": np.array([0.5, -0.25, np.pi], dtype=np.float32),
}
HEADER = {"C": 0.3, "loss": "softmax", "none": None, "names": ["a", "ü", "雪"]}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.safetensors"
    container.save(path, ARRAYS, HEADER)
    return path


def _rewrite(path, change):
    """Change the safetensors header of a file, its lengths kept right."""
    raw = path.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def test_arrays_and_header_come_back(saved):
    arrays, header = container.load(saved)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
    assert header.pop("written_by").keys() == {"fastsoftmax", "numpy", "python"}
    assert header == HEADER


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),  # safetensors itself would write its memory order
        np.arange(12.0).reshape(3, 4)[:, ::2],
        np.arange(3, dtype=">f4"),
        np.array(2.5),
        np.zeros((0, 3)),
        np.array([True, False]),
        np.array([np.nan, np.inf, -0.0]),
        np.arange(3, dtype=np.float16),
        np.array([2**63 + 1], dtype=np.uint64),
    ],
    ids=["fortran", "strided", "big-endian", "0-d", "empty", "bool", "special", "half", "uint64"],
)
def test_every_layout_comes_back(tmp_path, array):
    container.save(tmp_path / "m", {"a": array}, {})
    back = container.load(tmp_path / "m")[0]["a"]
    np.testing.assert_array_equal(back, array)
    assert back.shape == array.shape
    assert back.dtype == array.dtype.newbyteorder("=")


@pytest.mark.parametrize(
    "classes",
    [
        np.array([-3, 0, 7]),
        np.array([0, 255], dtype=np.uint8),
        np.array([2**63 + 1, 2**64 - 1], dtype=np.uint64),
        np.array([False, True]),
        np.array(["", "a b", "ü", "雪", 'quo"te']),
        np.array(["a", "bb"], dtype=object),
        np.array(["a", "bb"], dtype=np.dtypes.StringDType()),
        np.array([0.1, 1 / 3, 1e300]),
        np.array([0.1, 2.0], dtype=np.float32),
    ],
    ids=["int", "uint8", "uint64", "bool", "str", "object", "StringDType", "float", "float32"],
)
def test_classes_come_back(classes):
    encoded = json.loads(json.dumps(container.encode_classes(classes)))
    np.testing.assert_array_equal(container.decode_classes(encoded), classes, strict=True)


@pytest.mark.parametrize("classes", [np.array([b"a"]), np.array([1, "a"], dtype=object), np.array([1j])])
def test_other_classes_are_refused(classes):
    with pytest.raises(TypeError, match="class labels of dtype"):
        container.encode_classes(classes)


@pytest.mark.parametrize(
    "encoded",
    [{}, {"dtype": "<M9", "values": []}, {"dtype": "|u1", "values": [300]}, {"dtype": "V2", "values": []}],
)
def test_spoilt_classes_are_refused(encoded):
    with pytest.raises(ValueError, match="class labels in a model file"):
        container.decode_classes(encoded)


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.array([1j])])
def test_what_is_no_number_is_refused(tmp_path, array):
    with pytest.raises(TypeError, match="'a' has dtype"):
        container.save(tmp_path / "m", {"a": array}, {})
    assert list(tmp_path.iterdir()) == []


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.safetensors' does not exist"):
        container.load(tmp_path / "no.safetensors")


def test_folder_is_no_model(tmp_path):
    with pytest.raises(ValueError, match="not a regular file"):
        container.load(tmp_path)


def test_every_truncation_is_refused(saved):
    whole = saved.read_bytes()
    for length in [*range(0, len(whole), 37), len(whole) - 1]:
        saved.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            container.load(saved)


def test_every_flipped_bit_is_refused(saved):
    whole = saved.read_bytes()
    reference = container.load(saved)
    n_refused = 0
    for at in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << at % 8
        saved.write_bytes(spoilt)
        loaded = None
        with contextlib.suppress(ValueError):
            loaded = container.load(saved)
        if loaded is not None:  # a flip that means the same: white space in the header
            assert loaded[1] == reference[1]
            for name, array in reference[0].items():
                np.testing.assert_array_equal(loaded[0][name], array, strict=True)
        else:
            n_refused += 1
    assert n_refused > 0.95 * len(whole)


@pytest.mark.parametrize(
    "content", [b"", b"C,1\n", b"PK\x03\x04" + bytes(200), bytes(64), b"\x80\x04\x95pickle" * 9]
)
def test_foreign_bytes_are_refused(tmp_path, content):
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a fastsoftmax model file") as caught:
        container.load(path)
    assert "\n" not in str(caught.value)


def test_foreign_safetensors_is_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"weight": np.ones(3)}, tmp_path / "other")
    with pytest.raises(ValueError, match="was not written by fastsoftmax"):
        container.load(tmp_path / "other")


def test_newer_version_is_refused(saved):
    _rewrite(saved, lambda header: header["__metadata__"].update(format_version="2"))
    with pytest.raises(ValueError, match="format version 2, this fastsoftmax reads up to 1: upgrade"):
        container.load(saved)


@pytest.mark.parametrize("version", ["", "0", "-1", "one"])
def test_odd_version_is_refused(saved, version):
    _rewrite(saved, lambda header: header["__metadata__"].update(format_version=version))
    with pytest.raises(ValueError, match="damaged"):
        container.load(saved)


def test_changed_header_is_refused(saved):
    def change(header):
        metadata = header["__metadata__"]
        metadata["header"] = metadata["header"].replace("0.3", "0.4")

    _rewrite(saved, change)
    with pytest.raises(ValueError, match="check sum"):
        container.load(saved)


def test_a_failed_write_leaves_the_old_file(saved):
    before = saved.read_bytes()

    def fail():
        with container.replacing(saved) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with pytest.raises(TypeError):
        container.save(saved, ARRAYS, {"not JSON": object()})
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        container.save(tmp_path / "m", ARRAYS, HEADER)
    assert list(tmp_path.iterdir()) == []


def test_folder_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        container.save(tmp_path / "no" / "m", ARRAYS, HEADER)


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(ValueError, match="not a regular file"):
        container.save(tmp_path / "taken", ARRAYS, HEADER)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links and permissions")
def test_links_are_followed_and_permissions_are_those_of_open(tmp_path):
    target, link, plain = tmp_path / "target", tmp_path / "link", tmp_path / "plain"
    link.symlink_to(target)
    plain.write_bytes(b"")
    container.save(link, ARRAYS, HEADER)
    assert link.is_symlink()
    assert container.load(target)[1]["C"] == 0.3
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_a_long_name_fits(tmp_path):
    path = tmp_path / ("m" * 250)
    container.save(path, ARRAYS, HEADER)
    assert list(tmp_path.iterdir()) == [path]
