"""Arrays in .npy layout: in a file of their own, or as a member of an .npz, by ranges of rows.

Ranges of plain files are mapped, one range at a time, so that what a process holds does not grow with the
file; compressed members are read from the front.
"""

from __future__ import annotations

import contextlib
import struct
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastsoftmax.contracts import Array, DType

PAGE = 4096


class ArrayHead(NamedTuple):
    """The shape, dtype and order of an array, and where in its file the numbers begin."""

    shape: tuple[int, ...]
    dtype: DType
    by_columns: bool
    offset: int

    @property
    def row_bytes(self) -> int:
        """The bytes of a row."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    @property
    def n_bytes(self) -> int:
        """The bytes of the array."""
        return self.shape[0] * self.row_bytes


def read_head(file: IO[bytes], source: str) -> ArrayHead:
    """Return the head of the array at the file's position, which is left behind it.

    Raises ValueError, naming the source, if it is damaged, holds Python objects, or has no rows' axis.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(file)
    except (ValueError, EOFError, SyntaxError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{source!r} is damaged or no .npy file: {reason}") from error
    if dtype.hasobject:
        raise ValueError(f"{source!r} holds Python objects, which are not read, as that could run code")
    if not shape:
        raise ValueError(f"{source!r} holds a single number, no rows")
    return ArrayHead(tuple(shape), dtype, bool(by_columns) and len(shape) > 1, file.tell())


class MappedArray(NamedTuple):
    """An array in a plain file, whose rows are mapped when they are asked for."""

    path: str
    head: ArrayHead

    def rows(self, start: int, stop: int) -> Array:
        """Return a range of the rows, read-only, as long as it is referenced. Its pages have been read."""
        shape, dtype, by_columns, offset = self.head
        if Path(self.path).stat().st_size < offset + self.head.n_bytes:
            # reading beyond the end of a mapped file would end the process
            raise ValueError(f"{self.path!r} is truncated")
        if start >= stop:
            return np.empty((0, *shape[1:]), dtype)
        if by_columns:
            return np.asarray(np.memmap(self.path, dtype, "r", offset, shape, "F"))[start:stop]
        at = offset + start * self.head.row_bytes
        mapped = np.asarray(np.memmap(self.path, dtype, "r", at, (stop - start, *shape[1:])))
        if mapped.nbytes:
            # one byte of each page, here in the thread that reads ahead, not in the one that computes
            mapped.reshape(-1).view(np.uint8)[::PAGE].max()
        return mapped


def mapped_file(path: str) -> MappedArray:
    """Return the array of an .npy file. Raises ValueError, naming it, if it is damaged or truncated."""
    size = Path(path).stat().st_size
    if size == 0:
        raise ValueError(f"{path!r} is empty")
    with Path(path).open("rb") as file:
        head = read_head(file, path)
    if size < head.offset + head.n_bytes:
        raise ValueError(
            f"{path!r} is truncated: an array {head.shape} of {head.dtype} takes "
            f"{head.offset + head.n_bytes} bytes, and it has {size}"
        )
    return MappedArray(path, head)


class StreamedArray:
    """An array read from the front, by ranges of rows that follow each other.

    Parameters
    ----------
    file : binary file at the beginning of the array
    source : str
        For messages.
    """

    def __init__(self, file: IO[bytes], source: str) -> None:
        self._file, self._source = file, source
        self.head = read_head(file, source)
        self._at = 0
        self._whole: Array | None = None

    def rows(self, start: int, stop: int) -> Array:
        """Return the rows from where the last range ended. Raises ValueError if the file ends before."""
        if self.head.by_columns:
            if self._whole is None:
                self._whole = self._read(self.head.shape[0]).reshape(self.head.shape[::-1]).T
            return self._whole[start:stop]
        assert start == self._at, "a streamed array is read in order"
        self._at = stop
        return self._read(stop - start).reshape((stop - start, *self.head.shape[1:]))

    def _read(self, n_rows: int) -> Array:
        wanted = n_rows * self.head.row_bytes
        out = np.empty(wanted, np.uint8)
        view, done = out.data, 0
        try:
            while done < wanted:
                count = self._file.readinto(view[done:])  # type: ignore[attr-defined]
                if not count:
                    raise ValueError(f"{self._source!r} is truncated")
                done += count
        except (zipfile.BadZipFile, EOFError, OSError) as error:
            raise ValueError(f"{self._source!r} is damaged: {error}") from error
        return out.view(self.head.dtype)


class Members:
    """The arrays of an .npz file that is open.

    Parameters
    ----------
    path : str
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path!r} is damaged or no .npz file: {error}") from error
        self.names = {name.removesuffix(".npy") for name in self._archive.namelist()}

    def is_stored(self, name: str) -> bool:
        """Whether a member is not compressed, so that it can be mapped."""
        return self._archive.getinfo(f"{name}.npy").compress_type == zipfile.ZIP_STORED

    def array(self, name: str) -> MappedArray | StreamedArray:
        """Return a member by ranges of rows: mapped if it is stored, else read from the front."""
        info = self._archive.getinfo(f"{name}.npy")
        source = f"{self._path}[{name}]"
        if info.compress_type != zipfile.ZIP_STORED:
            return StreamedArray(self._archive.open(info), source)
        with Path(self._path).open("rb") as file:
            file.seek(info.header_offset)
            header = file.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                raise ValueError(f"{self._path!r} is damaged: no array {name!r} where it should be")
            name_length, extra_length = struct.unpack("<HH", header[26:30])
            file.seek(info.header_offset + 30 + name_length + extra_length)
            return MappedArray(self._path, read_head(file, source))

    def head(self, name: str) -> ArrayHead:
        """Return the head of a member."""
        with self._archive.open(f"{name}.npy") as file:
            return read_head(file, f"{self._path}[{name}]")

    def whole(self, name: str) -> Array:
        """Return a small member."""
        with self._archive.open(f"{name}.npy") as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()


@contextlib.contextmanager
def members(path: str) -> Iterator[Members]:
    """Yield the arrays of an .npz file. Raises ValueError, naming it, if it is damaged."""
    opened = Members(path)
    try:
        yield opened
    finally:
        opened.close()
