"""The library of compiled kernels that came with the package: chosen by the processor, loaded on first use.

A wheel holds a shared library for each processor level in the folder `compiled`, a table of what is in them,
and an extension module that calls them (`aot/entries.c`). Nothing of that needs Numba. Kernels that the table
lacks are compiled by Numba; so are all of them where there is no library, where none fits the processor, or
where the sources of the installed kernels are not those that it was made of. The log says so once.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import logging
import os
import sys
from importlib.machinery import ExtensionFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastsoftmax.contracts.wording import shown
from fastsoftmax.runtime import lazy_imports, signatures

if TYPE_CHECKING:
    from collections.abc import Iterable

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[1]
FOLDER = PACKAGE / "compiled"  # of a wheel; another one is named by the variable PLACE
FORMAT = 1  # of the table
CHOICES = ("auto", "jit", "compiled")
CHOICE = "FASTSOFTMAX_KERNELS"
LEVEL = "FASTSOFTMAX_LEVEL"
PLACE = "FASTSOFTMAX_LIBRARY"
EXTENSION = "entries.abi3.so"
TABLE = "table.json"
# Each processor level can do what those before it can.
ORDER = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")


class KernelsMissingError(RuntimeError):
    """A kernel has to be compiled, and FASTSOFTMAX_KERNELS is "compiled"."""


class KernelsInfo(NamedTuple):
    """What runs: `fastsoftmax.kernels_info`.

    `source` is "library" or "numba"; `level` the processor level of the library in use, or None; `table` the
    hash that names its table, or None; `reason` why it is so; `n_kernels` how many kernels it has; `missed`
    those that were called with arguments that it has no kernel for, and that Numba compiled.
    """

    source: str
    level: str | None
    table: str | None
    reason: str
    n_kernels: int
    missed: tuple[str, ...]


class _Library:
    """An open library: the addresses of its kernels by module, name and signature."""

    def __init__(self, entries: Any, table: dict[str, Any], file: Path, level: str) -> None:
        self._entries = entries
        self._shared = ctypes.CDLL(str(file))
        self.level = level
        self.table: str = table["hash"]
        self.width: list[int] = table["levels"][level]
        self._symbols: dict[str, dict[str, str]] = table["kernels"]
        self.n_kernels = sum(map(len, self._symbols.values()))

    def entry(self, module: str, name: str) -> Any:
        """Return the `Entry` of a kernel, which calls it by its arguments, or None if there is none."""
        symbols = self._symbols.get(f"{module}:{name}")
        if symbols is None:
            return None
        try:
            addresses = {of: self._address(f"{symbol}_entry") for of, symbol in symbols.items()}
        except AttributeError:  # a damaged file
            return None
        return self._entries.Entry(name, addresses, signatures.NAMES)

    def address(self, module: str, name: str, signature: str) -> int | None:
        """Return the address of a function that is called as Numba's functions are, or None."""
        symbol = self._symbols.get(f"{module}:{name}", {}).get(signature)
        return None if symbol is None else self._address(symbol)

    def _address(self, symbol: str) -> int:
        found = ctypes.cast(self._shared[symbol], ctypes.c_void_p).value
        assert found is not None
        return found


class _State:
    """What has been said and missed in this process."""

    def __init__(self) -> None:
        self.reason = ""
        self.missed: dict[str, None] = {}


_state = _State()


def sources_hash(files: Iterable[str]) -> str:
    """Return the hash of source files of the package, given by their paths within it."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.encode() + b"\0" + (PACKAGE / file).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def table_hash(table: dict[str, Any]) -> str:
    """Return the name of a table: a hash of what it says, short enough to be read out."""
    content = {key: value for key, value in table.items() if key != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def choice() -> str:
    """Return what FASTSOFTMAX_KERNELS says: "auto" by default. ValueError for what it cannot say."""
    found = os.environ.get(CHOICE) or "auto"
    if found not in CHOICES:
        raise ValueError(f"{CHOICE} must be one of {', '.join(CHOICES)}; got {shown(found)}")
    return found


def numba_config() -> Any:
    """Return Numba's settings, or None where it has not been imported, or not yet by another thread."""
    return getattr(sys.modules.get("numba"), "config", None)


def is_interpreted() -> bool:
    """Return whether Numba's DISABLE_JIT is set: kernels are then called as the Python functions they are."""
    config = numba_config()
    if config is not None:
        return bool(config.DISABLE_JIT)
    return os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0")


@lazy_imports.once
def _opened() -> _Library | None:
    """Return the library, opened, or None; then the state's `reason` says why."""
    if is_interpreted():
        _state.reason = "NUMBA_DISABLE_JIT is set"
        return None
    if choice() == "jit":
        _state.reason = f"{CHOICE} is jit"
        return None
    try:
        return _found()
    except _NotUsableError as error:
        _state.reason = str(error)
        if choice() == "compiled":
            raise KernelsMissingError(f"{CHOICE} is compiled, but {error}") from error
        if error.is_worth_saying:
            logger.warning("fastsoftmax: kernels are compiled by Numba: %s", error)
        return None


class _NotUsableError(Exception):
    """There is no library that can be used."""

    def __init__(self, reason: str, *, is_worth_saying: bool) -> None:
        super().__init__(reason)
        self.is_worth_saying = is_worth_saying


def _found() -> _Library:
    place = os.environ.get(PLACE)
    folder = Path(place) if place else FOLDER
    try:
        text = (folder / TABLE).read_text()
    except OSError:
        reason = f"there is none in {folder}" if place else "no library came with this installation"
        raise _NotUsableError(reason, is_worth_saying=bool(place)) from None
    try:
        table = json.loads(text)
        if table["format"] != FORMAT:
            raise _NotUsableError(
                f"the library's table has format {shown(table['format'])}, not {FORMAT}", is_worth_saying=True
            )
        if table["hash"] != table_hash(table):
            raise _NotUsableError("the library's table is damaged", is_worth_saying=True)
        if not _is_of(table):
            raise _NotUsableError(
                "the library was made of other sources than are installed", is_worth_saying=True
            )
        entries = _extension(folder / EXTENSION)
        of_cpu = entries.cpu_level()
    except (
        ImportError,
        OSError,
        AttributeError,
        KeyError,
        RuntimeError,
        TypeError,
        json.JSONDecodeError,
    ) as error:
        raise _NotUsableError(f"the library cannot be loaded ({error})", is_worth_saying=True) from error
    level = _level(of_cpu, list(table["levels"]))
    try:
        return _Library(entries, table, folder / f"{level}.so", level)
    except OSError as error:
        raise _NotUsableError(f"the library cannot be loaded ({error})", is_worth_saying=True) from error


def _is_of(table: dict[str, Any]) -> bool:
    """Return whether a table's kernels were made of the sources that are installed."""
    try:
        return sources_hash(table["files"]) == table["sources"]
    except OSError:  # there are others, or none that can be read
        return False


def _extension(file: Path) -> Any:
    """Return the extension module in a file. ImportError if it cannot be loaded."""
    loader = ExtensionFileLoader("fastsoftmax.compiled.entries", str(file))
    spec = importlib.util.spec_from_file_location(loader.name, file, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def _level(of_cpu: str, levels: list[str]) -> str:
    """Return the highest of the library's levels that the processor has, or what FASTSOFTMAX_LEVEL says."""
    can = ORDER[: ORDER.index(of_cpu) + 1] if of_cpu in ORDER else (of_cpu,)
    wanted = os.environ.get(LEVEL)
    if wanted:
        if wanted not in levels:
            raise ValueError(f"{LEVEL} must be one of {', '.join(levels)}; got {shown(wanted)}")
        if wanted not in can:
            raise ValueError(f"{LEVEL} is {wanted}, and this processor is {of_cpu or 'unknown'}")
        return wanted
    found = [level for level in levels if level in can]
    if not found:
        raise _NotUsableError(
            f"the library has nothing for this processor, {of_cpu or 'unknown'}", is_worth_saying=True
        )
    return max(found, key=can.index)


def is_in_use() -> bool:
    """Return whether kernels come from a library in this process."""
    return _opened() is not None


def width() -> list[int] | None:
    """Return the shapes of register tiles (`runtime.width.Width`) of the library in use, or None."""
    opened = _opened()
    return None if opened is None else opened.width


def entry(module: str, name: str) -> Any:
    """Return what calls a kernel by its arguments (`Entry` of `aot/entries.c`), or None without one."""
    opened = _opened()
    found = None if opened is None else opened.entry(module, name)
    if found is None and opened is not None:
        missed(module, name, None)
    return found


def address(module: str, name: str, signature: str) -> int | None:
    """Return the address of a compiled function for arguments of a signature, or None."""
    opened = _opened()
    if opened is None:
        return None
    found = opened.address(module, name, signature)
    if found is None:
        missed(module, name, signature)
    return found


def missed(module: str, name: str, signature: str | None) -> None:
    """Note that the library has no kernel for arguments, and say so once for each kernel.

    Raises KernelsMissingError if FASTSOFTMAX_KERNELS is "compiled".
    """
    kernel = f"{module.rpartition('.')[2]}.{name}" + (f"({signature})" if signature else "")
    if choice() == "compiled":
        raise KernelsMissingError(f"{CHOICE} is compiled, and the library has no {kernel}")
    if kernel not in _state.missed:
        _state.missed[kernel] = None
        logger.warning("fastsoftmax: the library has no %s: compiled by Numba", kernel)


def identity() -> str:
    """Return what a result's last bits depend on: the library's table and level, or Numba's version."""
    opened = _opened()
    if opened is not None:
        return f"library {opened.table}, {opened.level}"
    if is_interpreted():
        return "interpreted"
    version = getattr(sys.modules.get("numba"), "__version__", None)
    if version is None:
        from importlib import metadata

        version = metadata.version("numba")
    return f"numba {version}"


def kernels_info() -> KernelsInfo:
    """Return what runs in this process: compiled kernels that came with the package, or Numba's.

    Returns
    -------
    KernelsInfo
        A named tuple of `source` ("library" or "numba"), `level`, `table`, `reason`, `n_kernels`, `missed`.

    Raises
    ------
    ValueError
        If FASTSOFTMAX_KERNELS or FASTSOFTMAX_LEVEL says what they cannot say.
    KernelsMissingError
        If FASTSOFTMAX_KERNELS is "compiled" and there is no library.

    Notes
    -----
    FASTSOFTMAX_KERNELS chooses: "auto" takes the library where it fits, "jit" leaves all to Numba, "compiled"
    makes whatever would have to be compiled an error. FASTSOFTMAX_LEVEL chooses among the library's levels;
    FASTSOFTMAX_LIBRARY names a folder that `python -m fastsoftmax.aot --folder` has made, in place of the
    package's own. All are read once a process. Results agree to the last bit for one table, one level and
    one version of the C library and of BLAS.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.kernels_info().source in ("library", "numba")
    True
    """
    opened = _opened()
    missed = tuple(_state.missed)
    if opened is None:
        return KernelsInfo("numba", None, None, _state.reason, 0, missed)
    reason = f"the library fits this processor ({opened.level})"
    return KernelsInfo("library", opened.level, opened.table, reason, opened.n_kernels, missed)
