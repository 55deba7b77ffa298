"""Text tables, plain or compressed, parsed by pyarrow in a stream."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.data.blocks import estimates, record_batches
from fastsoftmax.data.blocks.block import Block, Coded, Head
from fastsoftmax.data.blocks.columns import TableFile
from fastsoftmax.data.blocks.record_batches import Feature, Uses
from fastsoftmax.data.readers import dialect
from fastsoftmax.data.readers.header import MISSING, is_header
from fastsoftmax.data.readers.table import damage_reported
from fastsoftmax.data.readers.text_labels import number

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGINNING = 2**20  # bytes that the dialect is told from
TEXT_BYTES = 2**22  # parsed at a time; pyarrow holds a few such parts
_CELL = re.compile(r"In CSV column #(\d+): (?:Row #\d+: )?(.*)")


@dataclass(frozen=True)
class CsvBlocks(TableFile):
    """The rows of a text table; every feature is float64."""

    def head(self) -> Head:
        """Return what the first lines say."""
        _, names, _ = self._dialect()
        uses = self._uses(names)
        return Head(
            None,
            uses.n_features,
            np.dtype(np.float64),
            is_sparse=False,
            n_bytes=Path(self.path).stat().st_size,
            names=uses.names,
            has_labels=self.target is not None,
            is_slow=True,
            is_text=True,
        )

    def column_names(self) -> tuple[list[str], bool]:
        """Return the names of all columns, and whether they stand in a header: else x0, x1 and so on."""
        _, names, skipped = self._dialect()
        return names, skipped > 0

    def likely_rows(self) -> int:
        """Return about how many lines there are, by the beginning of the file."""
        with damage_reported(self.path, "CSV"):
            return estimates.likely_rows(self.path)

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield blocks of equal numbers of rows."""
        sep, names, skipped = self._dialect()
        uses = self._uses(names)
        batches = self._batches(sep, names, skipped, uses)
        for each in record_batches.blocks_of(batches, uses, self.path, block_bytes):
            y = each.y
            if isinstance(y, Coded):  # blanks around a cell are no part of it
                y = Coded(y.codes, np.char.strip(y.values.astype(str)))
            yield each._replace(y=y)

    def _batches(self, sep: str, names: list[str], skipped: int, uses: Uses) -> Iterator[Any]:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        types = {each.name: pa.float64() for each in uses.features}
        types |= {} if uses.weight is None else {uses.weight: pa.float64()}
        types |= {} if uses.target is None else {uses.target: pa.string()}
        with self._damage_reported(sep, names, skipped), self._text() as text:
            yield from arrow_csv.open_csv(
                text,
                arrow_csv.ReadOptions(block_size=TEXT_BYTES, column_names=names, skip_rows=skipped),
                arrow_csv.ParseOptions(delimiter=sep),
                arrow_csv.ConvertOptions(
                    column_types=types,
                    include_columns=uses.columns,
                    null_values=list(MISSING),
                    strings_can_be_null=False,
                ),
            )

    @contextlib.contextmanager
    def _text(self) -> Iterator[Any]:
        """Yield the text, decompressed as its suffix says."""
        import pyarrow as pa

        kind = {".gz": "gzip", ".zst": "zstd"}.get(Path(self.path).suffix.lower())
        with pa.input_stream(self.path, compression=kind) as text:
            yield text

    @contextlib.contextmanager
    def _damage_reported(self, sep: str, names: list[str], skipped: int) -> Iterator[None]:
        """Raise what pyarrow says of a cell with the name of its column, and its row."""
        with damage_reported(self.path, "CSV"):
            try:
                yield
            except Exception as error:
                found = _CELL.search(str(error))
                if found is None:
                    raise
                at, said = int(found[1]), found[2]
                row = self._row_that_is_no_number(sep, at, skipped)
                place = "" if row is None else f" in row {row}"
                raise ValueError(f"column {names[at]!r}{place}: {said}") from error

    def _row_that_is_no_number(self, sep: str, at: int, skipped: int) -> int | None:
        """Return the first row, from 1 on, whose cell in a column is no number: pyarrow does not say."""
        with self._text() as binary:
            lines = csv.reader(io.TextIOWrapper(binary, "utf-8", errors="replace", newline=""), delimiter=sep)
            records = (record for record in lines if record)
            for row, record in enumerate(records, start=1 - skipped):
                cell = record[at].strip() if at < len(record) else ""
                if row > 0 and cell not in MISSING and number(cell) is None:
                    return row
        return None

    def _dialect(self) -> tuple[str, list[str], int]:
        """Return the separator, the names of the columns, and the number of lines before the rows."""
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ImportError(
                f"reading {self.path!r} by blocks needs pyarrow: pip install pyarrow"
            ) from error
        with damage_reported(self.path, "CSV"):
            if self.path.lower().endswith(".zst"):
                with self._text() as text:
                    beginning = text.read(BEGINNING)
                whole = len(beginning) < BEGINNING
                seen = dialect.of_text(beginning.decode("utf-8-sig", errors="replace"), whole=whole)
            else:
                seen = dialect.found(Path(self.path), None)
            if not seen.records:
                raise ValueError("there is no row in it")
            if seen.sep == dialect.BLANKS or seen.decimal != ".":
                raise ValueError("columns separated by blanks, or decimal commas, are not read by blocks")
        header, _ = is_header(seen.records, labelled=self.target is not None)
        asked = [each for each in (self.target, self.weight, *self.features) if isinstance(each, str)]
        header = header or any(each in seen.records[0] for each in asked)
        names = list(seen.records[0]) if header else [f"x{j}" for j in range(len(seen.records[0]))]
        return seen.sep, names, int(header)

    def _uses(self, names: list[str]) -> Uses:
        chosen, target, weight = self.chosen(names)
        kind = np.dtype(np.float64)
        return Uses(tuple(Feature(name, 1, kind, False) for name in chosen), target, weight)
