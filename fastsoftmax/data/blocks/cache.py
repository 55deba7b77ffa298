"""Decoded blocks on disk, from where they are mapped: for files that take long to decode.

A cache is a folder with two files: `blocks.bin`, the arrays of all blocks one after the other, and
`index.json`, which is written last. It is made under another name and renamed when it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, Halves
from fastsoftmax.contracts.sizes import in_bytes
from fastsoftmax.data import sparse
from fastsoftmax.data.blocks import stamps
from fastsoftmax.data.blocks.arrays import ArrayHead, MappedArray
from fastsoftmax.data.blocks.block import Block, Coded, Head, n_bytes
from fastsoftmax.data.blocks.own_folder import OwnFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Array, HostRows
    from fastsoftmax.data.blocks.chain import Supply

VERSION = 1  # of the layout: another is written anew
ALIGNMENT = 64  # bytes: a cache line, and the widest register
ARRAYS, INDEX = "blocks.bin", "index.json"
_WAYS_OUT = (
    "give cache= (--cache) a folder with more room, or cache=False (--no-cache) to decode the files in every "
    "reading"
)


class CacheWriter:
    """A cache that is being written.

    Parameters
    ----------
    folder : str, optional
        Where caches are kept; None takes a temporary folder.
    supply : Supply
        What the blocks are read from: tells the cache from others.
    likely_bytes : int
        The size that it is likely to have.

    Raises
    ------
    OSError
        The disk has less room than that; nothing has been written.
    """

    def __init__(self, folder: str | None, supply: Supply, likely_bytes: int = 0) -> None:
        self._is_temporary = folder is None
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
        _refuse_if_full(tempfile.gettempdir() if folder is None else folder, likely_bytes)
        self._supply = supply
        self._own = OwnFolder(folder, (ARRAYS, INDEX))
        self._part = self._own.path
        self._place = self._part if folder is None else place_of(folder, supply)
        self._file = (self._part / ARRAYS).open("wb")
        self._at = 0
        self._blocks: list[dict[str, Any]] = []

    def add(self, block: Block, y: Array | None, *, with_transpose: bool = True) -> None:
        """Write a block, with codes or probabilities `y` in place of its labels.

        Sparse rows are written with their transpose, if it is wanted. Raises OSError if the disk is full.
        """
        X = block.X
        arrays: dict[str, Array] = {}
        if isinstance(X, Csr):
            arrays |= {"data": X.data, "indices": X.indices, "indptr": X.indptr}
            if with_transpose:
                back = X.transpose or sparse.transposed(X)
                arrays |= {"back_data": back.data, "back_indices": back.indices, "back_indptr": back.indptr}
        else:
            arrays["X"] = X.bits.view(np.float16) if isinstance(X, Halves) else X
        arrays |= {} if y is None else {"y": y}
        arrays |= {} if block.weight is None else {"weight": np.asarray(block.weight, np.float64)}
        try:
            held = {name: self._write(array) for name, array in arrays.items()}
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise OSError(
                errno.ENOSPC,
                f"the disk is full after {in_bytes(self._at)} of decoded blocks in {str(self._part)!r}: "
                f"{_WAYS_OUT}",
            ) from error
        self._blocks.append(
            {"n_rows": block.n_rows, "file": block.file, "first": block.first, "arrays": held}
        )

    def sealed(self, head: Head, labels: Array | None) -> Cache:
        """Return the cache, complete: `head` is that of all rows, `labels` the table of their codes."""
        self._file.flush()
        if not self._is_temporary:  # a temporary one does not outlive the process, nor the system
            os.fsync(self._file.fileno())
        self._file.close()
        index = {
            "version": VERSION,
            "identity": _identity(self._supply),
            "n_bytes": self._at,
            "head": {**head._asdict(), "dtype": head.dtype.str},
            "labels": None if labels is None else [labels.dtype.str, labels.tolist()],
            "blocks": self._blocks,
        }
        (self._part / INDEX).write_text(json.dumps(index), encoding="utf-8")
        if self._is_temporary:
            return Cache(self._place, self._own)
        self._own.renamed()
        _replaced(self._part, self._place)
        return Cache(self._place)

    def abandon(self) -> None:
        """Delete what was written."""
        self._file.close()
        self._own.delete()

    def _write(self, array: Array) -> list[Any]:
        """Write an array at the next aligned place, and return where and what it is."""
        by_columns = array.ndim == 2 and array.flags.f_contiguous and not array.flags.c_contiguous
        plain = np.ascontiguousarray(array.T if by_columns else array)
        padding = -self._at % ALIGNMENT
        self._file.write(b"\0" * padding)
        start = self._at + padding
        if plain.nbytes:
            self._file.write(plain.reshape(-1).view(np.uint8).data)
        self._at = start + plain.nbytes
        return [start, array.dtype.str, list(array.shape), by_columns]


class Cache:
    """The rows in a sealed cache.

    Parameters
    ----------
    place : Path
    own : OwnFolder, optional
        Of a temporary cache: deleted with it.
    """

    def __init__(self, place: Path, own: OwnFolder | None = None) -> None:
        self._place, self._own = place, own
        index = json.loads((place / INDEX).read_text(encoding="utf-8"))
        self._index: dict[str, Any] = index
        self._stamp = stamps.of(self._arrays)
        if self._stamp.size < index["n_bytes"]:
            raise ValueError(f"the cache {str(place)!r} is truncated: delete it")
        head = index["head"]
        names = None if head["names"] is None else tuple(head["names"])
        self.head = Head(**{**head, "dtype": np.dtype(head["dtype"]), "names": names, "is_slow": False})
        self._labels = None
        if index["labels"] is not None:
            dtype, values = index["labels"]
            self._labels = np.array(values, dtype)

    @property
    def n_bytes(self) -> int:
        """The bytes on disk."""
        return int(self._index["n_bytes"])

    @property
    def _arrays(self) -> str:
        return str(self._place / ARRAYS)

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield the blocks as they were written, mapped."""
        stamps.check(self._arrays, self._stamp)
        for record in self._index["blocks"]:
            held = {name: self._mapped(*about) for name, about in record["arrays"].items()}
            y: Any = held.get("y")
            if y is not None and self._labels is not None:
                y = Coded(y, self._labels)
            yield Block(
                self._rows(held, record["n_rows"]), y, held.get("weight"), record["file"], record["first"]
            )
        stamps.check(self._arrays, self._stamp)

    @property
    def index_base(self) -> None:
        """None: indices are those of columns."""

    def check_size(self, file: str) -> None:
        """Raise ValueError if the cache is no longer as long as it was."""
        stamps.check_size(self._arrays, self._stamp)

    def likely_rows(self) -> int | None:
        """Return the number of rows."""
        return self.head.n_rows

    def other_base(self) -> Supply:
        """Return itself."""
        return self

    def identity(self) -> list[object]:
        """Return what it was made from."""
        return [self._index["identity"]]

    def delete(self) -> None:
        """Delete the folder of a temporary cache."""
        if self._own is not None:
            self._own.delete()

    def is_of(self, supply: Supply) -> bool:
        """Return whether it was made from these files, as they are now."""
        return self._index["version"] == VERSION and self._index["identity"] == _identity(supply)

    def _mapped(self, start: int, dtype: str, shape: list[int], by_columns: bool) -> Array:
        stored = tuple(shape[::-1] if by_columns else shape)
        array = MappedArray(self._arrays, ArrayHead(stored, np.dtype(dtype), False, start)).rows(0, stored[0])
        return array.T if by_columns else array

    def _rows(self, held: dict[str, Array], n_rows: int) -> HostRows:
        width = self.head.n_features or 0
        if "X" in held:
            X = held["X"]
            return Halves(X.view(np.uint16)) if X.dtype == np.float16 else X
        if "back_indptr" not in held:
            return Csr(held["data"], held["indices"], held["indptr"], (n_rows, width))
        pointers = held["back_indptr"]
        if len(pointers) < width + 1:  # columns that came up later are empty here
            pointers = np.concatenate((pointers, np.repeat(pointers[-1:], width + 1 - len(pointers))))
        back = Csr(held["back_data"], held["back_indices"], pointers, (width, n_rows))
        return Csr(held["data"], held["indices"], held["indptr"], (n_rows, width), back)


def size_of(block: Block, y: Array | None, *, with_transpose: bool = True) -> int:
    """Return about how many bytes a cache takes for a block, of sparse rows perhaps with their transpose."""
    X = block.X
    beside = (0 if y is None else y.nbytes) + (0 if block.weight is None else 8 * block.n_rows)
    if not isinstance(X, Csr):
        return n_bytes(X) + beside
    if not with_transpose:
        return n_bytes(X) + beside
    pointers = X.indptr.itemsize * (X.shape[0] + X.shape[1] + 2)
    return 2 * (X.data.nbytes + X.indices.nbytes) + pointers + beside


def _refuse_if_full(folder: str, likely_bytes: int) -> None:
    """Raise OSError if the disk has less room than that."""
    free = shutil.disk_usage(folder).free
    if likely_bytes > free:
        raise OSError(
            errno.ENOSPC,
            f"the decoded blocks take some {in_bytes(likely_bytes)} in {str(folder)!r}, where "
            f"{in_bytes(free)} are free: {_WAYS_OUT}",
        )


def place_of(folder: str, supply: Supply) -> Path:
    """Return the folder of a supply's cache: one for all states of its files."""
    recipes = [each[0] if isinstance(each, list) else each for each in supply.identity()]
    name = hashlib.sha256(json.dumps(recipes).encode()).hexdigest()[:16]
    return Path(folder) / f"rows-{name}"


def found(folder: str, supply: Supply) -> Cache | None:
    """Return the cache of these files in a folder; None if there is none, or it is of an earlier state."""
    place = place_of(folder, supply)
    if not (place / INDEX).is_file():
        return None
    try:
        cache = Cache(place)
    except (ValueError, KeyError, TypeError, OSError):
        return None  # written anew
    return cache if cache.is_of(supply) else None


def _identity(supply: Supply) -> str:
    """Return the digest of the files' recipes and stamps."""
    return hashlib.sha256(json.dumps(supply.identity()).encode()).hexdigest()


def _replaced(part: Path, place: Path) -> None:
    """Rename a folder to its place; an older one there is moved out of the way first, and deleted."""
    old = None
    if place.exists():
        old = place.with_name(f"{part.name}.old")
        os.replace(place, old)  # noqa: PTH105
    os.replace(part, place)  # noqa: PTH105
    if old is not None:
        with contextlib.suppress(OSError):
            shutil.rmtree(old)
