"""Which columns of a table are features, labels, weights and names of rows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fastsoftmax.data.readers.table import column_index, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastsoftmax.data.readers.request import Expected, Request

# What pandas calls the column of an index that `DataFrame.to_csv` wrote under an empty name.
_UNNAMED = re.compile(r"(Unnamed: \d+(_level_\d+)?)?")


class Columns(NamedTuple):
    """Places of columns by what they hold, and what is to be said about the choice."""

    features: list[int]
    target: int | None = None
    weight: int | None = None
    ids: int | None = None
    notes: tuple[str, ...] = ()


def choose(
    source: str,
    names: Sequence[str],
    request: Request,
    *,
    named: bool = True,
    by_name: bool = True,
    labels_among: bool = True,
) -> Columns:
    """Return what the columns of a table are used for.

    Parameters
    ----------
    source : str
        What messages call the file.
    names : sequence of str
    request : Request
    named : bool, default=True
        False if the file has no names: those of the model are then not looked for.
    by_name : bool, default=True
        False if the request can give columns by index only.
    labels_among : bool, default=True
        Whether labels, weights and names of rows are columns, too, and not kept apart.

    Raises
    ------
    ValueError
        A column that was asked for, or that the model takes, is not there or has two uses.
    """

    def place(column: str) -> int:
        return column_index(source, names, column, by_name)

    weight = place(request.weight) if request.weight is not None and labels_among else None
    ids = place(request.ids) if request.ids is not None and labels_among else None
    asked = [*request.features, *request.drop]
    wanted = [place(column) for column in request.features]
    dropped = {place(column) for column in request.drop}
    given = place(request.target) if request.target is not None and labels_among else None
    uses = [each for each in (given, weight, ids, *wanted, *dropped) if each is not None]
    if len(set(uses)) < len(uses) - (len(asked) - len(set(asked))):
        twice = next(each for each in uses if uses.count(each) > 1)
        raise ValueError(f"{source!r}: column {names[twice]!r} is asked for twice, for two uses")
    model = request.model
    kept = set() if model is None or not named else {*(model.feature_names or ()), model.target}
    counts = _row_numbers(names, kept) if named and labels_among else []
    counts = [j for j in counts if j not in uses]
    target = given
    if given is None and request.labelled and labels_among:
        target = _labels(source, names, request, named, {*uses, *counts})
    no_features = {each for each in (target, weight, ids) if each is not None} | dropped
    if wanted:
        return Columns(list(dict.fromkeys(wanted)), target, weight, ids)
    notes: tuple[str, ...] = ()
    if counts:
        notes = ("the first column has no name: taken for row numbers and left out",)
    if named and model is not None and model.feature_names is not None:
        features, more = _by_name(source, names, model, {*no_features, *counts})
        return Columns(features, target, weight, ids, notes + more)
    if not named and model is not None and _is_training_width(names, model):
        no_features |= set(model.left_out)
        if target is None:
            places = ", ".join(str(names[j]) for j in model.left_out)
            notes += (f"left out, as when the model was fitted: column {places}",)
    if named and model is not None and target is None and model.target in names and labels_among:
        notes += (f"column {model.target!r} holds the labels: not used",)
        no_features.add(names.index(model.target))
    features = [j for j in range(len(names)) if j not in no_features and j not in counts]
    return Columns(features, target, weight, ids, notes)


def _row_numbers(names: Sequence[str], kept: Iterable[str | None]) -> list[int]:
    """Return the places of the leading columns without a name of their own."""
    end = next((j for j, name in enumerate(names) if not _UNNAMED.fullmatch(name)), len(names))
    return [j for j in range(end) if names[j] not in set(kept)]


def _is_training_width(names: Sequence[str], model: Expected) -> bool:
    """Whether a table without names is as wide as the one that the model was fitted on."""
    left_out = model.left_out
    return bool(left_out) and len(names) == model.n_features + len(left_out) > max(left_out)


def _labels(source: str, names: Sequence[str], request: Request, named: bool, used: set[int]) -> int:
    """Return the place of the label column that nobody named: the model's, or the last."""
    model = request.model
    if model is not None and model.target is not None:
        if named and model.target in names:
            return names.index(model.target)
        if named and model.feature_names is not None:
            raise ValueError(
                f"{source!r} has no column {model.target!r}, which held the labels when the model was "
                f"fitted; say which does with --target ({_has(names)})"
            )
        if not named and model.target.isdecimal() and _is_training_width(names, model):
            return int(model.target)
    if not names:
        raise ValueError(f"{source!r} has no columns")
    features = set(model.feature_names or ()) if model is not None and named else set()
    free = [j for j, name in enumerate(names) if j not in used and name not in features]
    if not free:
        raise ValueError(f"{source!r} has no column left for the labels ({_has(names)})")
    return free[-1]


def _by_name(
    source: str, names: Sequence[str], model: Expected, elsewhere: set[int]
) -> tuple[list[int], tuple[str, ...]]:
    """Return the places of a model's features among names, and notes of what was moved and left out."""
    wanted = model.feature_names or ()
    others = [j for j in range(len(names)) if j not in elsewhere and names[j] != model.target]
    has_labels = any(names[j] == model.target for j in range(len(names)) if j not in elsewhere)
    notes: list[str] = []
    if has_labels:
        notes.append(f"column {model.target!r} holds the labels: not used")
    if tuple(names[j] for j in others) == wanted:  # also where a name is there twice
        return others, tuple(notes)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise ValueError(f"{source!r} lacks features of the model: {listed(missing, 8)} ({_has(names)})")
    double = next((name for name in wanted if names.count(name) > 1 or wanted.count(name) > 1), None)
    if double is not None:
        raise ValueError(f"{source!r}: columns {double!r} cannot be told apart, and others stand beside them")
    at = {name: j for j, name in enumerate(names)}
    features = [at[name] for name in wanted]
    taken = next((j for j in features if j in elsewhere), None)
    if taken is not None:
        raise ValueError(f"{source!r}: column {names[taken]!r} is a feature of the model")
    if features != sorted(features):
        notes.append("the columns are in another order than the model's: taken by their names")
    others = [j for j in others if j not in features]
    if others:
        shown = listed([names[j] for j in others], 8)
        notes.append(f"left out, as the model has no such features: {shown}")
    return features, tuple(notes)


def _has(names: Sequence[str]) -> str:
    """Return which columns there are."""
    return f"it has {len(names)} columns: {listed(names, 8)}"
