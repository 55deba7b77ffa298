"""What is asked of a reader: which columns, and how the file is to be taken."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Expected:
    """What a fitted model takes, so that a file is read as the one that it was fitted on.

    Attributes
    ----------
    n_features : int
    feature_names : tuple of str (n_features,), optional
        Columns of a file with names are chosen by these.
    target : str, optional
        The label column: its name, or its index in a file without names.
    left_out : tuple of int
        In a file without names, the places of the columns that were no features.
    index_base : {0, 1}, optional
        The first index of an svmlight file.
    text_labels : bool
        Whether the classes are text, so that labels which look like numbers are text, too.
    """

    n_features: int
    feature_names: tuple[str, ...] | None = None
    target: str | None = None
    left_out: tuple[int, ...] = ()
    index_base: int | None = None
    text_labels: bool = False


@dataclass(frozen=True)
class Request:
    r"""What is asked of a reader. Columns are named, or given by index (negative from the end).

    Attributes
    ----------
    target : str, optional
        Where the labels are; in an .npz the name of an array.
    labelled : bool
        False for data to predict on: there need not be labels.
    n_features : int, optional
        The width that an svmlight file is to have.
    model : Expected, optional
        The model that the data is for.
    features : tuple of str
        The columns to use, in this order; all others where it is empty.
    drop : tuple of str
        Columns not to use.
    weight, ids : str, optional
        The columns (arrays of an .npz) of row weights, and of names of rows.
    drop_missing : bool
        Leave out rows with empty cells instead of refusing them.
    format : str, optional
        A suffix without its dot, in place of the file's.
    sep : str, optional
        What separates the columns of a text table: one character, or r"\s+"; by default it is found.
    header : bool, optional
        Whether the first row of a text table holds names; by default it is decided by the other rows.
    index_base : {0, 1}, optional
        The first index of an svmlight file; by default the model's, or decided by the file.
    """

    target: str | None = None
    labelled: bool = True
    n_features: int | None = None
    model: Expected | None = None
    features: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    weight: str | None = None
    ids: str | None = None
    drop_missing: bool = False
    format: str | None = None
    sep: str | None = None
    header: bool | None = None
    index_base: int | None = None

    @property
    def width(self) -> int | None:
        """The number of features that there has to be, if it is known."""
        return self.n_features if self.model is None else self.model.n_features
