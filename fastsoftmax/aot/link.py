"""Shared libraries of the kernels, one for each processor level, with their table and what calls them."""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastsoftmax.runtime import library

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HERE = Path(__file__).parent
# By machine: what wheels are made for. Code for a level runs on processors that can do what it stands for.
LEVELS = {"x86_64": ("x86-64-v3", "x86-64-v4"), "aarch64": ("aarch64",)}
LLVM_NAMES = {"aarch64": "generic"}  # where they are not those of levels
# What a library may ask of C, and of nothing else (log, log1p, tanh and exp of its mathematics).
SYMBOLS = frozenset(("exp", "free", "log", "log1p", "malloc", "memcpy", "memmove", "memset", "tanh"))
OPTIONS = ("-O2", "-shared", "-fPIC", "-Wall", "-Wextra")


def compiler() -> list[str]:
    """Return the C compiler, as a command: that of the variable CC, or cc. FileNotFoundError without one."""
    name, *arguments = shlex.split(os.environ.get("CC") or "cc")
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"no C compiler: {name} is not found (the variable CC names one)")
    return [found, *arguments]


def extension(folder: Path) -> Path:
    """Compile the extension module that calls kernels, for every Python from 3.11 on; return its file."""
    file = folder / library.EXTENSION
    includes = [f"-I{sysconfig.get_path('include')}", "-isystem", np.get_include()]
    _run(*compiler(), *OPTIONS, "-DPy_LIMITED_API=0x030B0000", *includes, HERE / "entries.c", "-o", file)
    return file


def objects(level: str, folder: Path, n_processes: int, only: str = "") -> tuple[list[list[str]], list[int]]:
    """Emit the object files for a level into a folder.

    Only those whose symbol matches a regular expression. Returns (module, name, signature, symbol) of each,
    and the shapes of register tiles (`runtime.width.Width`). RuntimeError if a process fails, or there are
    none.
    """
    # Settings of Numba's that a shell may hold (of optimisation, of checks) have no part in a release.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    name = LLVM_NAMES.get(level, level)
    environment |= {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": "", library.CHOICE: "jit"}
    command = [sys.executable, "-m", "fastsoftmax.aot.objects", str(folder), only]
    processes = [
        subprocess.Popen([*command, str(part), str(n_processes)], env=environment)
        for part in range(n_processes)
    ]
    failed = [part for part, process in enumerate(processes) if process.wait()]
    if failed:
        raise RuntimeError(f"objects for {level}: process {failed[0]} of {n_processes} failed")
    tables = [json.loads((folder / f"{part}.json").read_text()) for part in range(n_processes)]
    rows = sorted(row for table in tables for row in table["rows"])
    if not rows:
        raise RuntimeError(f"no function has a symbol that matches {only!r}")
    return rows, tables[0]["width"]


def shared_library(level: str, files: Iterable[Path], folder: Path) -> Path:
    """Link object files into a level's library; return its file.

    RuntimeError if it asks more of others than `SYMBOLS`, so far as there is an `nm` to read that with.
    """
    file = folder / f"{level}.so"
    runtime = HERE / "runtime.c"
    _run(*compiler(), *OPTIONS, "-s", "-Wl,-z,defs,--wrap=log,--wrap=exp", *files, runtime, "-lm", "-o", file)
    strange = needed(file) - SYMBOLS
    if strange:
        raise RuntimeError(f"{file.name} needs {', '.join(sorted(strange))}")
    return file


def needed(file: Path) -> set[str]:
    """Return the symbols that a library asks of others; none where there is no `nm`."""
    nm = shutil.which("nm")
    if nm is None:
        return set()
    command = [nm, "-D", "--undefined-only", str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # "U name@version"; weak ones ("w") need not be there.
    found = (line.split() for line in text.splitlines())
    return {words[-1].partition("@")[0] for words in found if words[-2] == "U"}


def build(
    folder: Path, levels: Sequence[str] | None = None, n_processes: int | None = None, *, only: str = ""
) -> Path:
    """Make libraries for some levels, their table and the extension module in a folder; return the table.

    Parameters
    ----------
    folder : Path
        What an earlier call has made there is removed.
    levels : sequence of str, optional
        Processor levels, by default all of `LEVELS` for this machine.
    n_processes : int, optional
        As many as there are processors by default. About a second of one for each function and level.
    only : str
        A regular expression that symbols of the functions have to match ("rows_softmax"); "" takes all.

    Raises
    ------
    FileNotFoundError
        If there is no C compiler.
    RuntimeError
        If a function cannot be compiled, or if this is no Linux with glibc on a machine of `LEVELS`.
    subprocess.CalledProcessError
        If the C compiler fails.
    """
    machine = platform.machine()
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc" or machine not in LEVELS:
        raise RuntimeError(f"libraries are made on Linux with glibc, for {', '.join(LEVELS)}")
    n_processes = n_processes or len(os.sched_getaffinity(0))
    folder.mkdir(parents=True, exist_ok=True)
    for old in (*folder.glob("*.so"), *folder.glob(library.TABLE)):
        old.unlink()
    extension(folder)
    rows: list[list[str]] = []
    widths: dict[str, list[int]] = {}
    for level in levels or LEVELS[machine]:
        with tempfile.TemporaryDirectory() as name:
            rows, widths[level] = objects(level, Path(name), n_processes, only)
            shared_library(level, [Path(name, f"{row[3]}.o") for row in rows], folder)
    return write_table(folder, rows, widths)


def write_table(folder: Path, rows: Iterable[Sequence[str]], widths: dict[str, list[int]]) -> Path:
    """Write the table of what libraries hold, and of what and by what they were made; return its file."""
    kernels: dict[str, dict[str, str]] = {}
    for module, name, signature, symbol in rows:
        kernels.setdefault(f"{module}:{name}", {})[signature] = symbol
    files = source_files()
    table = {
        "format": library.FORMAT,
        "files": files,
        "sources": library.sources_hash(files),
        "levels": widths,
        "compilers": {name: metadata.version(name) for name in ("numba", "llvmlite")},
        "kernels": kernels,
    }
    table["hash"] = library.table_hash(table)
    path = folder / library.TABLE
    path.write_text(json.dumps(table, indent=0) + "\n")
    return path


def source_files() -> list[str]:
    """Return the files that machine code is made of, by their paths within the package."""
    from fastsoftmax.aot.objects import load_all
    from fastsoftmax.runtime.seals import SOURCES

    found: set[str] = set()
    for module in load_all():
        found |= SOURCES.closure(str(sys.modules[module].__file__))
    return sorted(Path(path).relative_to(library.PACKAGE).as_posix() for path in found)


def platform_tag(folder: Path) -> str:
    """Return the tag of a wheel with what is in a folder: Python 3.11 on, and the C library that it needs."""
    versions = [
        tuple(map(int, found))
        for file in folder.glob("*.so")
        for found in re.findall(rb"GLIBC_(\d+)\.(\d+)", file.read_bytes())
    ]
    major, minor = max([*versions, (2, 17)])
    return f"cp311-abi3-manylinux_{major}_{minor}_{platform.machine()}"


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True)
