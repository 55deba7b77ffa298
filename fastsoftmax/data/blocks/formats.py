"""Paths as callers give them, and the reader of blocks for each."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastsoftmax.contracts.wording import shown
from fastsoftmax.data.blocks.anndata import AnnDataBlocks
from fastsoftmax.data.blocks.arrow import ArrowBlocks
from fastsoftmax.data.blocks.chain import Chain
from fastsoftmax.data.blocks.comma_separated import CsvBlocks
from fastsoftmax.data.blocks.npy import NpyBlocks
from fastsoftmax.data.blocks.npz import NpzBlocks
from fastsoftmax.data.blocks.svmlight import SvmlightBlocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastsoftmax.contracts import Array
    from fastsoftmax.data.blocks.block import FileBlocks

FORMATS = {
    "npy": ("npy",),
    "npz": ("npz",),
    "parquet": ("parquet", "pq"),
    "arrow": ("arrow", "feather", "ipc"),
    "csv": ("csv", "tsv", "csv.gz", "tsv.gz", "csv.zst", "tsv.zst"),
    "svm": ("svm", "libsvm", "svmlight", "svm.gz", "libsvm.gz", "svmlight.gz"),
    "h5ad": ("h5ad", "h5"),
    "zarr": ("zarr",),
}
# A file of labels is named as that of its rows, with y in place of X as a word: X_000.npy and y_000.npy.
_X_WORD = re.compile(r"(?<![A-Za-z0-9])X(?![A-Za-z0-9])")
_IS_BESIDE = re.compile(r"(?<![A-Za-z0-9])(y|w|weight|sample_weight)(?![A-Za-z0-9])")


class Wanted(NamedTuple):
    """What is asked of the files: the arguments of `open_rows` that say where things are."""

    target: Any = None
    features: tuple[str | int, ...] = ()
    sample_weight: Any = None
    layer: str | None = None
    zero_based: bool | None = None
    n_features: int | None = None


def opened(paths: Any, form: str | None, wanted: Wanted) -> Chain:
    """Return the rows of the files that paths stand for.

    Raises
    ------
    FileNotFoundError
        A path stands for no file.
    ValueError
        The files are of no known format or of several, or do not fit what is wanted.
    """
    kind, files = files_of(paths, form)
    _refuse_foreign(kind, wanted)
    target, given = _beside("target", wanted.target, kind, files)
    weight, given_weight = _beside("sample_weight", wanted.sample_weight, kind, files)
    if kind == "npy" and all(each is None for each in target) and given is None:
        target = siblings(files)
    parts = [_reader(kind, file, y, w, wanted) for file, y, w in zip(files, target, weight)]
    return Chain(parts, given, given_weight)


def files_of(paths: Any, form: str | None = None) -> tuple[str, list[str]]:
    """Return the format and the files that paths stand for. Raises as `opened` does."""
    files = _files(paths, form)
    forms = {form or format_of(each) for each in files}
    if len(forms) > 1:
        raise ValueError(f"the files are of several formats: {', '.join(sorted(map(str, forms)))}")
    kind = forms.pop()
    if kind not in FORMATS:
        raise ValueError(
            f"cannot tell what kind of data {files[0]!r} is: format= one of {', '.join(FORMATS)} says it"
        )
    return kind, files


def columns_in(kind: str, file: str, *, labelled: bool) -> tuple[list[str], bool] | None:
    """Return the columns of a file, and whether they have names; None for formats without columns.

    Columns without names are numbered, those of CSV as x0, x1 and so on. Of AnnData they are those of obs.
    `labelled` tells that one may be text, which decides whether CSV has a header.
    """
    if kind == "npy":
        return NpyBlocks(file).column_names(), False
    if kind in ("parquet", "arrow"):
        return ArrowBlocks(file, is_parquet=kind == "parquet").column_names(), True
    if kind == "csv":
        return CsvBlocks(file, -1 if labelled else None).column_names()
    if kind in ("h5ad", "zarr"):
        return AnnDataBlocks(file).column_names(), True
    return None


def siblings(files: Sequence[str]) -> list[str | None]:
    """Return the .npy files of labels beside those of rows: y_000.npy beside X_000.npy; None where none is.

    Raises FileNotFoundError if some are missing.
    """
    names = [Path(file) for file in files]
    labels = [path.with_name(_X_WORD.sub("y", path.name, count=1)) for path in names]
    exist = [y != X and y.is_file() for X, y in zip(names, labels)]
    if not any(exist):
        return [None] * len(files)
    if not all(exist):
        missing = labels[exist.index(False)]
        raise FileNotFoundError(
            f"{str(missing)!r}, the labels of {files[exist.index(False)]!r}, does not exist"
        )
    return [str(y) for y in labels]


def _reader(kind: str, file: str, target: Any, weight: Any, wanted: Wanted) -> FileBlocks:
    """Return the reader of one file."""
    if kind == "npy":
        return NpyBlocks(file, target, weight, wanted.features)
    if kind == "npz":
        return NpzBlocks(file, target, weight)
    if kind in ("parquet", "arrow"):
        return ArrowBlocks(file, target, weight, wanted.features, kind == "parquet")
    if kind == "csv":
        return CsvBlocks(file, target, weight, wanted.features)
    if kind == "svm":
        return SvmlightBlocks(file, wanted.zero_based, wanted.n_features)
    return AnnDataBlocks(file, target, weight, wanted.layer)


def _files(paths: Any, form: str | None) -> list[str]:
    """Return the files of a path, a folder, a pattern or a list of these, in a fixed order."""
    if isinstance(paths, list | tuple):
        if not paths:
            raise ValueError("paths is empty")
        found = [file for path in paths for file in _files(path, form)]
        return [file for file in found if not _stands_beside(file, found)]  # a shell's *.npy names them, too
    path = os.fspath(paths)
    if not isinstance(path, str):
        raise TypeError(f"paths must be text or path-like; got {shown(paths)}")
    if Path(path).is_dir() and (form or format_of(path)) != "zarr":
        names = sorted(each.name for each in Path(path).iterdir() if not each.name.startswith((".", "_")))
        names = [name for name in names if (form or format_of(name)) is not None]
        names = [name for name in names if not _is_beside(name, names)]
        if not names:
            raise FileNotFoundError(f"folder {path!r} holds no file of a known format: {', '.join(FORMATS)}")
        return [str(Path(path) / name) for name in names]
    if Path(path).exists():
        return [path]
    found = sorted(glob.glob(path)) if glob.has_magic(path) else []  # noqa: PTH207
    found = [each for each in found if not _stands_beside(each, found)]
    if not found:
        raise FileNotFoundError(f"data file {path!r} does not exist")
    return found


def _stands_beside(file: str, files: Sequence[str]) -> bool:
    """Whether an .npy file holds the labels or weights of another of these files, in the same folder."""
    folder = Path(file).parent
    return _is_beside(Path(file).name, [Path(each).name for each in files if Path(each).parent == folder])


def _is_beside(name: str, names: Sequence[str]) -> bool:
    """Whether an .npy file holds the labels or weights of another."""
    is_word = name.endswith(".npy") and _IS_BESIDE.search(name) is not None
    return is_word and _IS_BESIDE.sub("X", name, count=1) in names


def format_of(path: str) -> str | None:
    """Return the format that a suffix stands for."""
    name = Path(path).name.lower()
    for form, suffixes in FORMATS.items():
        if any(name.endswith(f".{suffix}") for suffix in suffixes):
            return form
    return None


def _beside(name: str, given: Any, kind: str, files: Sequence[str]) -> tuple[list[Any], Array | None]:
    """Return where the labels (or weights) of each file are, and an array of all rows' if that was given."""
    none: list[Any] = [None] * len(files)
    if given is None:
        return none, None
    if isinstance(given, str | os.PathLike) and kind != "npy":
        return [os.fspath(given)] * len(files), None
    if isinstance(given, str | os.PathLike):
        if os.fspath(given).lstrip("-").isdecimal():
            return [int(os.fspath(given))] * len(files), None
        given = [given]
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        if kind not in ("npy", "parquet", "arrow", "csv"):
            raise ValueError(f"{name}={given}: {kind} files have no columns by index")
        return [int(given)] * len(files), None
    if isinstance(given, list | tuple) and all(isinstance(each, str | os.PathLike) for each in given):
        paths = [os.fspath(each) for each in given]
        if all(path.lower().endswith(".npy") for path in paths):
            expanded = [file for path in paths for file in _files(path, "npy")]
            if kind == "npy" and len(expanded) == len(files):
                return expanded, None
            raise ValueError(f"{name}: {len(expanded)} files for {len(files)} files of rows ({kind})")
    array = np.asarray(given)
    if array.ndim == 0:
        raise TypeError(f"{name} must be a column, a file or an array; got {shown(given)}")
    return none, array


def _refuse_foreign(kind: str, wanted: Wanted) -> None:
    """Raise ValueError for an argument that means nothing for the format."""
    if wanted.layer is not None and kind not in ("h5ad", "zarr"):
        raise ValueError(f"layer={shown(wanted.layer)}: {kind} files have no layers")
    if wanted.zero_based is not None and kind != "svm":
        raise ValueError(f"zero_based={wanted.zero_based}: only svmlight files have such indices")
    if wanted.features and kind in ("npz", "svm", "h5ad", "zarr"):
        raise ValueError(f"features={shown(wanted.features)}: {kind} files have no columns to choose from")
    if kind == "svm" and (isinstance(wanted.target, str) or isinstance(wanted.sample_weight, str)):
        raise ValueError("the label stands first in each line of an svmlight file: it has no columns")
