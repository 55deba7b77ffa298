"""Text tables: separated values, with or without a row of column names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastsoftmax.data.readers import dialect
from fastsoftmax.data.readers.columns import choose
from fastsoftmax.data.readers.frame import table_of
from fastsoftmax.data.readers.header import MISSING, is_header
from fastsoftmax.data.readers.table import Table, damage_reported

if TYPE_CHECKING:
    from pathlib import Path

    from fastsoftmax.data.readers.request import Request


def read(path: Path, source: str, request: Request, *, sep: str = ",") -> Table:
    """Return the table in a text file, plain or compressed; any separator but `sep` is noted."""
    import pandas

    with damage_reported(source, "CSV"):
        seen = dialect.found(path, request.sep)
        if not seen.records:
            raise ValueError("there is no row in it")
        header, notes = _header(seen.records, request)
        width = len(seen.records[0])
        # pandas would make an index of the cells that are too many
        if any(len(record) > width for record in seen.records):
            raise ValueError("the rows have more cells than the header")
    names = list(seen.records[0]) if header else [f"x{j}" for j in range(width)]
    n_blank = _blank_at_end(seen.records)
    names = names[: width - n_blank]
    if request.sep is None and seen.sep != sep:
        notes = (f"columns are separated by {dialect.NAMES[seen.sep]}", *notes)
    if seen.decimal == ",":
        notes = (*notes, "numbers are read with a decimal comma")
    columns = choose(source, names, request, named=header)
    texts = {at for at in (columns.target, columns.ids) if at is not None}
    missing = (*MISSING, "?") if request.drop_missing else MISSING
    places = range(width)
    with damage_reported(source, "CSV"):
        frame = pandas.read_csv(
            path,
            sep=seen.sep,
            decimal=seen.decimal,
            header=0 if header else None,
            names=list(places),
            dtype=dict.fromkeys(texts, str),
            keep_default_na=False,
            na_values={at: [""] if at in texts else missing for at in places},
            skipinitialspace=True,
            low_memory=False,
        )
        if not isinstance(frame.index, pandas.RangeIndex) or frame.iloc[:, len(names) :].notna().any(
            axis=None
        ):
            raise ValueError("the rows have more cells than the header")
    if columns.target is not None:  # a cell of blanks alone is empty
        labels = frame[columns.target]
        blanks = [label for label in labels.unique() if isinstance(label, str) and not label.strip()]
        frame[columns.target] = labels.mask(labels.isin(blanks)) if blanks else labels
    table = table_of(source, frame, names, request, columns, named=header, is_text=True)
    return table._replace(notes=(*notes, *table.notes))


def _blank_at_end(records: list[list[str]]) -> int:
    """Return how many columns at the end are empty in every record: separators end the lines."""
    width = len(records[0])
    filled = [j for record in records for j in range(len(record)) if record[j]]
    return width - 1 - max(filled, default=width - 1)


def _header(records: list[list[str]], request: Request) -> tuple[bool, tuple[str, ...]]:
    """Return whether there is a row of names, and what is to be said about it."""
    if request.header is not None:
        return request.header, ()
    model = request.model
    known = (model.feature_names or ()) if model is not None else ()
    labelled = request.target is not None or request.labelled
    header, notes = is_header(records, labelled=labelled, known=known)
    if not header:
        notes = ("there is no header row: the columns are called x0, x1, ...; --header: there is one",)
    return header, notes
