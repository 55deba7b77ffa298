"""Apache Parquet, and Arrow's own files (Feather): columns of numbers, or lists of numbers in a column."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastsoftmax.data.blocks import block, record_batches
from fastsoftmax.data.blocks.block import Block, Head
from fastsoftmax.data.blocks.columns import TableFile
from fastsoftmax.data.blocks.record_batches import Uses
from fastsoftmax.data.readers.table import damage_reported

if TYPE_CHECKING:
    from collections.abc import Iterator

# What is read of a column at a time. With pre_buffer, pyarrow's default, this limit is ignored, and whole row
# groups are held (152 MB where this takes 7).
BUFFER = 65536
_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class ArrowBlocks(TableFile):
    """The rows of a Parquet or an Arrow file.

    Parameters
    ----------
    path, target, weight, features
        As in `TableFile`.
    is_parquet : bool
        Whether it is a Parquet file, not one of Arrow's.
    """

    is_parquet: bool = True

    def head(self) -> Head:
        """Return what the schema and the footer say."""
        with self._opened() as file:
            uses = self._uses(file)
            n_rows = file.metadata.num_rows if self.is_parquet else None
        return Head(
            n_rows,
            uses.n_features,
            uses.dtype,
            is_sparse=False,
            n_bytes=Path(self.path).stat().st_size,
            names=uses.names,
            has_labels=self.target is not None,
            is_slow=True,
        )

    def column_names(self) -> list[str]:
        """Return the names of all columns, by the schema."""
        with self._opened() as file:
            return _columns(self._schema(file))

    def likely_rows(self) -> int:
        """Return about how many rows there are: record batches are of equal length, but for the last."""
        with self._opened() as file:
            if self.is_parquet:
                return int(file.metadata.num_rows)
            n_batches = int(file.num_record_batches)
            return n_batches * int(file.get_batch(0).num_rows) if n_batches else 0

    def blocks(self, block_bytes: int) -> Iterator[Block]:
        """Yield blocks of equal numbers of rows, whatever the row groups."""
        with self._opened() as file:
            uses = self._uses(file)
            step = block.rows_a_block(uses.n_features * uses.dtype.itemsize, block_bytes)
            batches = self._batches(file, uses.columns, min(step, 65536))
            yield from record_batches.blocks_of(batches, uses, self.path, block_bytes)

    def _batches(self, file: Any, columns: list[str], n_rows: int) -> Iterator[Any]:
        with damage_reported(self.path, "Parquet" if self.is_parquet else "Arrow"):
            if self.is_parquet:
                yield from file.iter_batches(batch_size=n_rows, columns=columns)
                return
            for i in range(file.num_record_batches):
                batch = file.get_batch(i)
                for start in range(0, batch.num_rows, n_rows):
                    yield batch.slice(start, n_rows)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            import pyarrow as pa
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise ImportError(f"reading {self.path!r} needs pyarrow: pip install pyarrow") from error
        with damage_reported(self.path, "Parquet" if self.is_parquet else "Arrow"):
            if self.is_parquet:
                file: Any = parquet.ParquetFile(self.path, buffer_size=BUFFER, pre_buffer=False)
                source: Any = file
            else:
                source = pa.memory_map(self.path)
                file = pa.ipc.open_file(source)
        try:
            yield file
        finally:
            source.close()

    def _uses(self, file: Any) -> Uses:
        """Return what the columns are used for, by the schema."""
        schema = self._schema(file)
        names, target, weight = self.chosen(_columns(schema))
        features = tuple(
            record_batches.feature_of(
                self.path, schema.field(name), lambda name=name: self._first(file, name)
            )
            for name in names
        )
        return Uses(features, target, weight)

    def _schema(self, file: Any) -> Any:
        return file.schema_arrow if self.is_parquet else file.schema

    def _first(self, file: Any, name: str) -> Any:
        """Return the first list of a column."""
        for batch in self._batches(file, [name], 1):
            if batch.num_rows:
                return batch.column(name)[0].as_py()
        return None


def _columns(schema: Any) -> list[str]:
    """Return the names of the columns, without those that pandas gives to an index."""
    return [name for name in schema.names if not _INDEX.fullmatch(name)]
