"""Law: a cache without room is refused before it is written, and one of a killed process does not stay."""

from __future__ import annotations

import collections
import os
import signal
import sys

import numpy as np
import pytest

from fastsoftmax import open_rows
from fastsoftmax.contracts import RowBlock
from fastsoftmax.data.blocks import cache as caches
from fastsoftmax.data.blocks import own_folder
from fastsoftmax.data.blocks.estimates import likely_rows
from fastsoftmax.data.blocks.look import SoFar
from fastsoftmax.objective.objective import SoftmaxObjective
from tests.data.blocks import files
from tests.interpreter import run_python

TINY = "8K"
Usage = collections.namedtuple("Usage", "total used free")


def compressed(folder):
    X, y, w = files.data()
    np.savez_compressed(folder / "t.npz", X=X, y=y, w=w)
    return folder / "t.npz"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_the_size_is_said_beforehand_and_is_right(tmp_path, temporary):
    said = []
    rows = open_rows(compressed(tmp_path), memory=TINY)
    rows.look(said.append)
    assert all(isinstance(each, SoFar) for each in said)
    assert {each.likely_rows for each in said} == {files.N}
    written = next(temporary.iterdir()) / caches.ARRAYS
    assert said[-1].cache_bytes == pytest.approx(written.stat().st_size, rel=0.05)
    assert said[-1].n_rows == files.N


@pytest.mark.parametrize("kept", [True, False])
def test_a_disk_without_room_is_refused_before_a_byte_is_written(tmp_path, temporary, monkeypatch, kept):
    path = compressed(tmp_path)
    monkeypatch.setattr(caches.shutil, "disk_usage", lambda folder: Usage(10**9, 10**9 - 1000, 1000))
    cache = tmp_path / "kept" if kept else None
    with pytest.raises(OSError, match=r"take some 18\.8 KiB in .* where 1\.0 KiB are free") as error:
        open_rows(path, memory=TINY, cache=cache).look()
    assert str(cache or temporary) in str(error.value)
    assert "\n" not in str(error.value)
    assert list((cache or temporary).iterdir()) == []
    assert open_rows(path, memory=TINY, cache=False).look().cache is None


KILLED = """
    import os, signal, sys, tempfile
    tempfile.tempdir = sys.argv[2]
    from fastsoftmax import open_rows
    rows = open_rows(sys.argv[1], memory="8K")
    rows.look()
    if sys.argv[3] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    print(os.listdir(tempfile.tempdir), flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_the_cache_of_a_killed_process_is_deleted_by_the_next(tmp_path, temporary):
    path = compressed(tmp_path)
    status, _, _ = run_python(KILLED, str(path), str(temporary), "kill")
    assert status == -signal.SIGKILL
    (left,) = temporary.iterdir()
    assert {each.name for each in left.iterdir()} == {caches.ARRAYS, caches.INDEX, own_folder.LOCK}
    others = temporary / f"{own_folder.PREFIX}1-x{own_folder.SUFFIX}"
    others.mkdir()
    (others / own_folder.LOCK).touch()
    (others / "letter.txt").touch()
    (temporary / ".rows-of-tea.tmp").touch()
    with open_rows(path, memory=TINY) as rows:
        rows.look()
        assert not left.exists()
        assert len(list(temporary.iterdir())) == 3
    # what is not a folder of ours alone stays
    assert sorted(each.name for each in temporary.iterdir()) == [others.name, ".rows-of-tea.tmp"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_the_cache_of_a_living_process_stays(tmp_path, temporary):
    first, second = (own_folder.OwnFolder(str(temporary), ("a",)) for _ in range(2))
    # as another process sees them: locks are of open files, not of processes
    child = os.fork()
    if not child:
        own_folder.TOKEN = "another"
        own_folder.delete_abandoned(str(temporary), ("a",))
        first.delete()  # a child deletes nothing of its parent's
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert first.path.is_dir()
    assert second.path.is_dir()
    first.delete()
    assert list(temporary.iterdir()) == [second.path]
    second.delete()


def test_a_folder_without_a_lock_is_deleted_when_it_is_old(tmp_path):
    young, old = (tmp_path / f"{own_folder.PREFIX}1-{name}{own_folder.SUFFIX}" for name in "ab")
    for folder in (young, old):
        folder.mkdir()
    os.utime(old, (1, 1))
    if sys.platform != "win32":
        own_folder.delete_abandoned(str(tmp_path), ())
        assert list(tmp_path.iterdir()) == [young]


@pytest.mark.parametrize("make", [files.svmlight, files.svmlight_gz, files.csv, files.csv_gz, files.csv_zst],
                         ids=lambda make: make.__name__)  # fmt: skip
def test_rows_of_text_are_estimated(make, tmp_path):
    if make in files.NEEDS["pyarrow"]:
        pytest.importorskip("pyarrow")
    path, options = make(tmp_path)
    assert likely_rows(str(path)) in (files.N, files.N + 1)  # a header is a line
    assert open_rows(path, **options)._supply.likely_rows() in (files.N, files.N + 1)


def test_long_text_is_estimated_by_its_beginning(tmp_path):
    lines = b"".join(b"1 1:0.%06d 2:1.5 3:%d\n" % (k, k % 7) for k in range(200_000))
    (tmp_path / "t.svm").write_bytes(lines)
    assert likely_rows(str(tmp_path / "t.svm")) == pytest.approx(200_000, rel=0.02)


def test_a_file_that_is_cut_while_its_block_waits_is_a_message(tmp_path, monkeypatch):
    X, y, _ = files.data(np.float64)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", np.unique(y, return_inverse=True)[1])
    rows = open_rows(tmp_path / "X.npy", memory=TINY)
    objective = SoftmaxObjective(rows, l2=0.1)
    whole = list(rows.read())
    blocks = [RowBlock(whole[0].X, np.zeros(whole[0].n_rows, np.int64), np.ones(whole[0].n_rows))]
    source = objective._rows.source
    os.truncate(tmp_path / "X.npy", 1000)
    # the block is ready, and its pages are gone: a sum over it would end the process
    monkeypatch.setattr(source, "_blocks", lambda _: iter([(True, whole[0].file, blocks[0])]))
    with pytest.raises(ValueError, match=r"X\.npy.*it had \d+ bytes and has 1000 now"):
        objective.value_and_grad(np.zeros(objective.n_params))
