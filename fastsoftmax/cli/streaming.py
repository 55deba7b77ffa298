"""Which data the commands read by blocks: the rule, and the rows with the columns that were asked for."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from fastsoftmax.contracts.sizes import in_bytes
from fastsoftmax.data import readers
from fastsoftmax.data.blocks.memory import MEMORY
from fastsoftmax.data.readers.table import listed
from fastsoftmax.runtime.available_memory import available_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastsoftmax.data.blocks.chain import Chain
    from fastsoftmax.data.readers import Expected, Request

# Of the free memory: a file on disk takes up to three times its size while it is read as one table (text as
# bytes, as a frame, and as an array).
LARGE = 1 / 3
NAMED = ("parquet", "arrow", "csv", "npy")  # formats whose labels are a column beside the features
_PLACE_IN_LIST = re.compile(r"\[\d+\]$")


class Storage(NamedTuple):
    """What the options say about rows that are read by blocks."""

    memory: str | None = None
    cache: str | None = None
    no_cache: bool = False
    layer: str | None = None


class Streamed(NamedTuple):
    """Files that are read by blocks, and what their columns were taken for.

    `target` names the column of labels, `left_out` the places of columns that are no features in files
    without names.
    """

    chain: Chain
    memory: int | str
    cache: str | bool | None
    target: str | None
    left_out: tuple[int, ...]
    notes: tuple[str, ...]

    def notes_of(self, why: str) -> tuple[str, ...]:
        """Return what is to be said of the rows, and why they are read by blocks."""
        asked = why.startswith("--")  # nobody has to be told what they have asked for
        return self.notes if asked else (*self.notes, f"read by blocks: {why}")


def joined(data: Sequence[str]) -> str:
    """Return what messages call the data."""
    return data[0] if len(data) == 1 else f"{data[0]} … {data[-1]} ({len(data)} paths)"


def reason(data: Sequence[str], request: Request, storage: Storage) -> str | None:
    """Return why data is read by blocks, and None if it is read as one table.

    By blocks are read: what an option of such rows goes with (--memory, --cache, --layer); several files, a
    folder, a pattern; formats that are read by blocks only; .npy files with their labels beside them; and
    files that are larger than a third of the free memory. Raises BadParameter for what has to be one table.
    """
    options = {name: value for name, value in storage._asdict().items() if value not in (None, False)}
    given = next((f"--{name.replace('_', '-')}" for name in options), None)
    whole = next((each for each in data if each == "-" or each in readers.EMBEDDED), None)
    if whole is not None:
        if whole == "-" and request.format not in (None, *readers.FORMATS):
            raise typer.BadParameter(f"standard input is not read as .{request.format}")
        if given is not None or len(data) > 1:
            called = "standard input" if whole == "-" else f"the embedded set {whole!r}"
            beside = given or "other data"
            raise typer.BadParameter(f"{called} is read as one table: it does not go with {beside}")
        return None
    if given is not None:
        return given
    path = Path(data[0])
    if len(data) > 1:
        return "several files"
    if not path.exists():
        return "several files" if glob.has_magic(data[0]) else None  # a missing file is said by the reader
    known = request.format or _suffix(path)
    if path.is_dir() and known not in readers.FORMATS:
        return "a folder"
    if known not in readers.FORMATS and _block_format(f".{known}") is not None:
        return f".{known}"
    apart = _names_array(request.target) or _names_array(request.weight)
    if known == "npy" and (apart or (request.labelled and _has_sibling(path))):
        return "labels in another file"
    free = available_memory()
    size = path.stat().st_size
    if free is not None and size > LARGE * free:
        return f"{in_bytes(size)} on disk, more than a third of the {in_bytes(free)} of free memory"
    return None


def refuse_table_options(why: str, options: dict[str, object]) -> None:
    """Raise BadParameter for the first of some options that is given, for data that is read by blocks."""
    name = next((name for name, value in options.items() if value not in (None, False, ())), None)
    if name is not None:
        raise typer.BadParameter(
            f"--{name} goes with data that is read as one table; this is read by blocks ({why})"
        )


def opened(data: Sequence[str], request: Request, storage: Storage, why: str) -> Streamed:
    """Return the rows of files, with the columns that were asked for, or that the model takes.

    Raises ValueError, naming the file, if they are not there.
    """
    from fastsoftmax.data.blocks import formats

    refuse_table_options(why, {"drop-missing": request.drop_missing, "id": request.ids, "sep": request.sep,
                               "header": request.header})  # fmt: skip
    form = None if request.format is None else _block_format(f".{request.format}")
    kind, files = formats.files_of(data[0] if len(data) == 1 else list(data), form)
    wanted, target, left_out, notes = _wanted(kind, files, request)
    base = request.index_base
    if base is None and request.model is not None:
        base = request.model.index_base
    if base is not None and kind == "svm":
        wanted = wanted._replace(zero_based=base == 0)
    chain = formats.opened(files, form or kind, wanted._replace(layer=storage.layer))
    memory: int | str | None = storage.memory
    if memory is None:
        memory = _usual_memory()
    cache = False if storage.no_cache else storage.cache
    return Streamed(chain, memory, cache, target, left_out, notes)


def _wanted(
    kind: str, files: Sequence[str], request: Request
) -> tuple[Any, str | None, tuple[int, ...], tuple[str, ...]]:
    """Return what is asked of the files, the name of the label column, what is left out, and notes."""
    from fastsoftmax.data.blocks import formats
    from fastsoftmax.data.readers.columns import choose

    model = request.model
    asked = request.labelled or request.target is not None
    if kind not in NAMED:
        for name, value in (("features", request.features), ("drop", request.drop)):
            if value:
                raise ValueError(f"{files[0]!r} has no columns to choose from: it takes no --{name}")
        target = request.target or (model.target if model is not None and request.labelled else None)
        if kind in ("h5ad", "zarr") and request.labelled and target is None:
            found = formats.columns_in(kind, files[0], labelled=True)
            held = listed(found[0] if found is not None else (), 12) or "none"
            raise ValueError(
                f"{files[0]!r}: --target names the column of obs that holds the labels; it has {held}"
            )
        return formats.Wanted(target, sample_weight=request.weight), target, (), ()
    found = formats.columns_in(kind, files[0], labelled=asked)
    assert found is not None
    names, named = found
    apart = kind == "npy" and (
        _names_array(request.target)
        or (request.target is None and any(each is not None for each in formats.siblings(files)))
    )
    weighed_apart = kind == "npy" and _names_array(request.weight)
    used = _replaced(
        request,
        model=_by_columns(model, names),
        target=None if apart else request.target,
        labelled=request.labelled and not apart,
        weight=None if weighed_apart else request.weight,
        ids=None,
    )
    columns = choose(files[0], names, used, named=named, by_name=named)
    chosen = tuple(names[j] if named else j for j in columns.features)
    label = None if columns.target is None else names[columns.target]
    in_file = label if named or columns.target is None else columns.target
    weight: Any = request.weight
    if columns.weight is not None and not weighed_apart:
        weight = names[columns.weight] if named else columns.weight
    left_out = () if named else tuple(j for j in range(len(names)) if j not in set(columns.features))
    wanted = formats.Wanted(request.target if apart else in_file, chosen, weight)
    return wanted, label, left_out, columns.notes


def _by_columns(model: Expected | None, names: Sequence[str]) -> Expected | None:
    """Return what a model expects, with columns of lists in place of the features that they hold."""
    if model is None or model.feature_names is None:
        return model
    columns = [
        name if name in names else _PLACE_IN_LIST.sub("", name) for name in model.feature_names
    ]  # "embedding[7]" is the eighth number of the column "embedding"
    return _replaced(model, feature_names=tuple(dict.fromkeys(columns)))


def _replaced(each: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(each, **changes)


def _usual_memory() -> int:
    """Return what a fit may hold: a power of two, as bits depend on it, of at most half of what is free."""
    free = available_memory()
    memory = MEMORY  # or half of what is free, if that is less
    while free is not None and memory > free / 2 and memory > 2**24:
        memory //= 2
    return memory


def _suffix(path: Path) -> str:
    """Return the suffix by which readers tell formats, without its dot: "csv.gz"."""
    suffix = path.suffix.lower()
    if suffix in (".gz", ".zst"):
        suffix = Path(path.stem).suffix.lower() + suffix
    return suffix[1:]


def _block_format(name: str) -> str | None:
    """Return the format of files with that ending, as readers by blocks call it."""
    from fastsoftmax.data.blocks import formats

    return formats.format_of(f"x{name}")


def _names_array(name: str | None) -> bool:
    return name is not None and name.lower().endswith(".npy")


def _has_sibling(path: Path) -> bool:
    from fastsoftmax.data.blocks import formats

    return formats.siblings([str(path)]) != [None]
