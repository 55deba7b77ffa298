"""How many rows a text file is likely to have, from its beginning."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

PART = 2**20  # bytes of text, read at a time
BEGINNING = 2**21  # bytes of the file: of compressed ones, libraries read up to 128 KiB ahead


def likely_rows(path: str) -> int:
    """Return the number of lines of a text file, plain or compressed: exact where it is short.

    Raises what the decompressing library raises for a damaged file.
    """
    size = Path(path).stat().st_size
    lines = 0
    with Path(path).open("rb") as file:
        text = _decompressed(file, Path(path).suffix.lower())
        while file.tell() < BEGINNING:
            part = text.read(PART)
            if not part:
                return lines
            lines += part.count(b"\n")
        return int(lines * size / file.tell())


def _decompressed(file: Any, suffix: str) -> Any:
    if suffix == ".gz":
        return gzip.GzipFile(fileobj=file)
    if suffix == ".zst":
        import pyarrow as pa

        return pa.CompressedInputStream(pa.PythonFile(file), "zstd")
    return file
