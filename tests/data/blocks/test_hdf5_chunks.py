"""Chunks of HDF5 that threads inflate have the values of h5py's own slices, and damaged ones are said."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastsoftmax.data.blocks.hdf5_chunks import InflatedChunks, can_inflate

h5py = pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "t.h5", "w") as root:
        yield root


SHAPES = {  # the last chunks are cut, across as well
    "entries": ((103,), (10,)),
    "one chunk": ((7,), (7,)),
    "whole rows": ((31, 5), (4, 5)),
    "parts of rows": ((31, 5), (4, 2)),
}


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("dtype", ["<f4", "<i8", ">i4", "u1"])
@pytest.mark.parametrize(("shape", "chunks"), SHAPES.values(), ids=SHAPES)
def test_any_ranges_are_those_of_h5py(file, threads, shape, chunks, dtype, shuffle):
    values = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    array = file.create_dataset("x", data=values, chunks=chunks, compression="gzip", shuffle=shuffle)
    assert can_inflate(array)
    inflated = InflatedChunks(array, threads)
    assert inflated.shape == shape
    cuts = [0, 3, 3, 4, 7, 7, 19, 25, shape[0] + 9]  # within chunks, at their ends, nothing, beyond the array
    for start, stop in [*itertools.pairwise(cuts), (0, None), (2, 1)]:
        found, right = inflated[start:stop], array[start:stop]
        assert found.dtype == right.dtype
        np.testing.assert_array_equal(found, right)


def test_ranges_one_after_another_inflate_each_chunk_once(file, threads, monkeypatch):
    array = file.create_dataset("x", data=np.arange(100), chunks=(10,), compression="gzip")
    inflated, asked = InflatedChunks(array, threads), []
    plain = InflatedChunks._inflated
    monkeypatch.setattr(
        InflatedChunks, "_inflated", lambda self, first: asked.append(first) or plain(self, first)
    )
    for start in range(0, 100, 7):
        inflated[start : start + 7]
    assert sorted(asked) == [(row,) for row in range(0, 100, 10)]


def test_a_chunk_that_is_stored_as_it_is(file, threads):
    array = file.create_dataset("x", shape=(25,), dtype="<i4", chunks=(10,), compression="gzip")
    array[:] = np.arange(25)
    array.id.write_direct_chunk((10,), np.arange(50, 60, dtype="<i4").tobytes(), filter_mask=1)
    np.testing.assert_array_equal(InflatedChunks(array, threads)[5:25], array[5:25])
    assert array[12] == 52


@pytest.mark.parametrize(
    ("stored", "said"), [(b"no stream", "cannot be inflated"), (b"x\x9c\x03\x00\x00\x00\x00\x01", "length")]
)
def test_a_damaged_chunk_is_named(file, threads, stored, said):
    array = file.create_dataset("x", data=np.arange(25), chunks=(10,), compression="gzip")
    array.id.write_direct_chunk((10,), stored)
    with pytest.raises(OSError, match=f"from entry 11 on.*{said}"):
        InflatedChunks(array, threads)[0:25]


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": None},
        {"chunks": (10,)},
        {"chunks": (10,), "compression": "lzf"},
        {"chunks": (10,), "compression": "gzip", "fletcher32": True},
    ],
    ids=str,
)
def test_other_arrays_are_left_to_h5py(file, options):
    assert not can_inflate(file.create_dataset("x", data=np.arange(25), **options))


def test_chunks_that_were_never_written_are_left_to_h5py(file):
    array = file.create_dataset("x", shape=(25,), dtype="f4", chunks=(10,), compression="gzip", fillvalue=3)
    array[:10] = 1
    assert not can_inflate(array)


def test_numbers_of_fewer_bits_than_their_bytes_are_left_to_h5py(file):
    kind = h5py.h5t.NATIVE_INT16.copy()
    kind.set_precision(12)
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_chunk((10,))
    options.set_deflate(4)
    h5py.h5d.create(file.id, b"x", kind, h5py.h5s.create_simple((25,)), options)
    file["x"][:] = np.arange(25)
    assert not can_inflate(file["x"])
