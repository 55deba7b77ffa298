"""A data set as the command `fit` sees it: one table in memory, or rows that are read by blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from fastsoftmax.cli import streaming
from fastsoftmax.cli.matching import (
    check_labels,
    check_target,
    check_width,
    expected,
    facts,
    many_values,
    test_part,
)
from fastsoftmax.cli.parts import ArraysPart, FittedPart, RowsPart
from fastsoftmax.cli.splitting import held_out
from fastsoftmax.data import readers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastsoftmax.cli.parts import Part
    from fastsoftmax.cli.reading import Meter
    from fastsoftmax.cli.streaming import Storage
    from fastsoftmax.data.blocks.row_set import RowSet
    from fastsoftmax.data.readers import Expected, Request, Table


class About(NamedTuple):
    """What was read, for the report and for the model file; as in `readers.Table`."""

    name: str
    notes: tuple[str, ...]
    target: str | None
    feature_names: tuple[str, ...] | None
    class_names: tuple[str, ...] | None
    left_out: tuple[int, ...]
    index_base: int | None


class DataSet(Protocol):
    """What a model is fitted to, and tested on."""

    about: About
    test: Part | None

    @property
    def train(self) -> Part:
        """The rows that tell how well the model labels those it was fitted on."""

    @property
    def given(self) -> tuple[Any, Any, Any]:
        """X, y and sample_weight of `fit`."""

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows that a model is fitted to, and of features."""

    @property
    def rows(self) -> RowSet | None:
        """The rows, where they are read by blocks."""

    def drawn(self) -> dict[str, Any]:
        """Return the arrays that a picture of a fit is drawn of, by the names of `plot.overview`."""


class InMemory:
    """A table, and the rows to test on: its test part, or others."""

    rows = None

    def __init__(self, table: Table, name: str, test: Part | None = None) -> None:
        self._table = table
        self.about = About(
            name, table.notes, table.target, table.feature_names, table.class_names, table.left_out,
            table.index_base,
        )  # fmt: skip
        assert table.y is not None
        self.train = ArraysPart(table.X, table.y)
        self.test = test
        if test is None and table.X_test is not None and table.y_test is not None:
            self.test = ArraysPart(table.X_test, table.y_test)

    @property
    def given(self) -> tuple[Any, Any, Any]:
        """X, y and sample_weight of `fit`."""
        return self._table.X, self._table.y, self._table.weight

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and features."""
        n_rows, n_features = self._table.X.shape
        return n_rows, n_features

    def drawn(self) -> dict[str, Any]:
        """Return the arrays that a picture is drawn of."""
        return {**self.train._asdict(), "X_test": self._table.X_test, "y_test": self._table.y_test}


class InBlocks:
    """Rows that are read by blocks, and those to test on."""

    def __init__(self, rows: RowSet, about: About, n_held_out: int = 0, test: Part | None = None) -> None:
        self.rows, self.about, self.test = rows, about, test
        self.train = FittedPart(rows)
        self._n_held_out = n_held_out

    @property
    def given(self) -> tuple[Any, Any, Any]:
        """X, y and sample_weight of `fit`."""
        return self.rows, None, None

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows that are not held out, and of features."""
        return self.rows.n_rows - self._n_held_out, self.rows.n_features

    def drawn(self) -> dict[str, Any]:
        """Return the arrays that a picture is drawn of: the rows in memory, which may be a sample."""
        from fastsoftmax.data.blocks.labels import Encoder
        from fastsoftmax.data.blocks.row_set import as_array

        sample = self.rows.look().sample
        classes = self.rows.classes
        y = (
            sample.y
            if self.rows.look().learnt is None
            else classes[Encoder(classes).codes(sample.as_block())]
        )
        return {"X": as_array(sample.X), "y": y, "X_test": None, "y_test": None}


def opened(
    data: Sequence[str],
    request: Request,
    storage: Storage,
    *,
    test: str | None,
    test_size: float | None,
    meter: Meter,
) -> DataSet:
    """Return a data set, checked, with the rows to test on.

    Raises ValueError, naming the file, for what cannot be fitted or tested on.
    """
    why = streaming.reason(data, request, storage)
    name = streaming.joined(data)
    if why is not None:
        return _in_blocks(data, name, request, storage, why, test, test_size, meter)
    table = readers.read(name, request)
    table = table._replace(notes=table.notes + check_target(name, table))
    if test_size is not None:
        table = held_out(table, test_size)
    y = table.y
    assert y is not None
    names = None if name in readers.EMBEDDED else table.feature_names
    like = expected(y, table.X.shape[1], names, facts(table))
    part: Part | None = None
    if test is not None:
        part, notes = _test(test, replace(request, model=like), np.unique(y) if y.ndim == 1 else None)
        table = table._replace(notes=table.notes + notes)
    if isinstance(part, ArraysPart):
        return InMemory(table._replace(X_test=part.X, y_test=part.y), name)
    if part is None and table.y_test is not None and table.y_test.ndim == y.ndim == 1:
        check_labels(table.y_test, np.unique(y))
    return InMemory(table, name, part)


def _in_blocks(
    data: Sequence[str], name: str, request: Request, storage: Storage, why: str, test: str | None,
    test_size: float | None, meter: Meter,
) -> InBlocks:  # fmt: skip
    """Return rows that are read by blocks, after their first reading."""
    from fastsoftmax.data.blocks import held_out as parts
    from fastsoftmax.data.blocks.labels import NoClassesError
    from fastsoftmax.data.blocks.row_set import RowSet

    streamed = streaming.opened(data, request, storage, why)
    supply: Any = streamed.chain
    part: Part | None = None
    if test_size is not None:
        held = parts.HeldOut(streamed.chain, test_size, is_test=True)
        part = RowsPart(RowSet(held, memory=streamed.memory, cache=False), weighted=True)
        supply = parts.HeldOut(streamed.chain, test_size, is_test=False)
    rows = RowSet(supply, memory=streamed.memory, cache=streamed.cache)
    if not rows.head.has_labels:
        raise ValueError(f"{name!r} has no labels: --target says where they are")
    try:
        look = rows.look(meter.of(rows).look)
    except NoClassesError as error:
        raise ValueError(
            f"{name!r}: {streamed.target!r}, taken for the label, holds numbers with fractions "
            f"({error.value!r}); --target names another"
        ) from error
    notes = streamed.notes_of(why)
    if streamed.target is not None and look.learnt is not None:
        notes += many_values(streamed.target, len(look.learnt.classes), rows.n_rows)
    n_held_out = 0
    if test_size is not None:
        n_held_out = parts.n_held_out(rows.n_rows, test_size)
        notes += (f"{n_held_out:,} of {rows.n_rows:,} rows, told by their places, are held out as test data",)
    if test is not None:
        kept: dict[str, object] = {
            "target": streamed.target,
            "left_out": list(streamed.left_out),
            "index_base": rows.index_base,
        }
        like = expected(rows.classes, rows.n_features, rows.feature_names, kept)
        classes = None if look.learnt is None else rows.classes
        part, more = _test(test, replace(request, model=like), classes)
        notes += more
    about = About(name, notes, streamed.target, rows.feature_names, None, streamed.left_out, rows.index_base)
    return InBlocks(rows, about, n_held_out, part)


def _test(test: str, request: Request, classes: Any) -> tuple[Part, tuple[str, ...]]:
    """Return the rows to test on, of other files than those of the fit, and what is to be said of them."""
    used = replace(request, features=(), drop=(), weight=None, ids=None)
    model: Expected = request.model  # type: ignore[assignment]
    why = streaming.reason([test], used, streaming.Storage())
    if why is not None:
        from fastsoftmax.data.blocks.row_set import RowSet

        streamed = streaming.opened([test], used, streaming.Storage(), why)
        rows = RowSet(streamed.chain, memory=streamed.memory, cache=False)
        notes = streamed.notes_of(why)
        if not rows.head.has_labels:
            raise ValueError(f"{test!r} has no labels: there is nothing to test on")
        return RowsPart(rows), tuple(f"test data: {note}" for note in notes)
    other = readers.read(test, used)
    X, y = test_part(other)
    check_width(test, X, model.n_features)
    if y is None:
        raise ValueError(f"{test!r} has no labels: there is nothing to test on")
    if classes is not None and y.ndim == 1:
        check_labels(y, classes)
    return ArraysPart(X, y), tuple(f"test data: {note}" for note in other.notes)
