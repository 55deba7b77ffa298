"""The svmlight format, plain or compressed, parsed in parts that end with a line."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.data.blocks import block, estimates
from fastsoftmax.data.blocks.block import Block, Head
from fastsoftmax.data.readers.table import damage_reported, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

# Characters of a part: an entry of some 12 characters becomes 12 bytes of float64 and an int32 index.
PART_BYTES = 2**24


class OtherBase(Exception):  # noqa: N818  (nothing has failed)
    """An index 0 has come up, though indices were taken to start at 1."""


@dataclass(frozen=True)
class SvmlightBlocks:
    """The rows of an svmlight file.

    Parameters
    ----------
    path : str
    zero_based : bool, optional
        Whether indices start at 0; None takes them to start at 1, and raises OtherBase where a 0 comes up.
    n_features : int, optional
        The width; None lets blocks be as wide as the largest index so far.
    """

    path: str
    zero_based: bool | None = None
    n_features: int | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The file."""
        return (self.path,)

    def based(self, zero_based: bool) -> SvmlightBlocks:
        """Return the same with the base of indices known."""
        return replace(self, zero_based=zero_based)

    def head(self) -> Head:
        """Return what is known without reading: the size of the file."""
        size = Path(self.path).stat().st_size
        if not size:
            raise ValueError(f"{self.path!r} is empty")
        return Head(
            None, self.n_features, np.dtype(np.float64), is_sparse=True, n_bytes=size, is_slow=True,
            has_float_labels=True,
        )  # fmt: skip

    def likely_rows(self) -> int:
        """Return about how many lines there are, by the beginning of the file."""
        with damage_reported(self.path, "svmlight"):
            return estimates.likely_rows(self.path)

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield the rows of parts of the text."""
        first = 0
        width = self.n_features or 0
        for text in self._parts(min(PART_BYTES, block_bytes)):
            X, y = self._parsed(text, first)
            n_rows = len(y)
            if not n_rows:
                continue
            base = 0 if self.zero_based else 1
            lowest = int(X.indices.min(initial=base))
            if lowest < base:
                if self.zero_based is None:
                    raise OtherBase
                raise ValueError(
                    f"{self.path!r}: index {lowest} in rows {first + 1} to {first + n_rows}, but indices "
                    f"start at {base}; zero_based=True if this file's start at 0"
                )
            largest = int(X.indices.max(initial=base)) - base
            if self.n_features is not None and largest >= self.n_features:
                raise ValueError(
                    f"{self.path!r}: index {largest + base} in rows {first + 1} to {first + n_rows} is "
                    f"beyond the {self.n_features} features"
                )
            width = max(width, largest + 1)
            indices = X.indices - X.indices.dtype.type(base)
            yield Block(
                block.sparse(X.data, indices, X.indptr, width, self.path, check=False),
                y,
                None,
                self.path,
                first,
            )
            first += n_rows

    def _parts(self, part_bytes: int) -> Iterator[bytes]:
        """Yield the text in parts of whole lines."""
        rest = b""
        with damage_reported(self.path, "svmlight"), opened(Path(self.path)) as file:
            while True:
                text = file.read(part_bytes)
                if not text:
                    break
                end = text.rfind(b"\n") + 1
                if end:
                    yield rest + text[:end]
                    rest = text[end:]
                else:
                    rest += text
            if rest.strip():
                yield rest

    def _parsed(self, text: bytes, first: int) -> tuple[Any, Any]:
        """Return the rows and labels of a part, its indices as they stand."""
        from sklearn.datasets import load_svmlight_file

        if not text.strip():
            return None, np.empty(0)
        try:
            return load_svmlight_file(io.BytesIO(text), zero_based=True)
        except Exception as error:  # the parser raises errors of several kinds
            line = self._bad_line(text)
            reason = " ".join(str(error).split())
            raise ValueError(
                f"{self.path!r} is damaged or no svmlight file: row {first + line + 1}: {reason}"
            ) from error

    def _bad_line(self, text: bytes) -> int:
        """Return the number of rows before the first that cannot be parsed, by halving the text."""
        from sklearn.datasets import load_svmlight_file

        lines = [line for line in text.splitlines() if line.partition(b"#")[0].strip()]
        low, high = 0, len(lines)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                load_svmlight_file(io.BytesIO(b"\n".join(lines[low:middle])), zero_based=True)
                low = middle
            except Exception:
                high = middle
        return low
