"""Seals of compiled kernels: a hash of the sources that the machine code of a module can contain.

A kernel contains the functions that it calls, of any file, and the numbers that were a module's constants.
All of that comes from modules that the kernel's own module imports, or those import in turn. So a seal is a
hash of these sources and of the compiler's versions. An edit of a picture or of a file format changes no
seal, nor does one of what only calls a kernel; one of a kernel changes those of the modules that import it.

The row functions of losses are the exception: they arrive by registration. A module whose imports reach
`losses/row_functions.py` is sealed with all of `losses`.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import llvmlite
import numba

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REGISTRY = "losses.row_functions"  # through it a kernel calls what it does not import
COMPILERS = f"numba {numba.__version__}, llvmlite {llvmlite.__version__}"
# Regular expressions, not `ast`, which takes a hundred times as long, in every process; and such as begin
# with plain text, which is searched for five times as fast. In all, the seals of what a fit loads take 4 ms
# on a virtual machine with two cores. What is imported for type checkers is not there when kernels are
# compiled.
TYPE_CHECKING_BLOCK = re.compile(r"\nif TYPE_CHECKING:[^\n]*\n(?:[ \t]+[^\n]*\n|[ \t]*\n)*")
COMMENT = re.compile(r"#[^\n]*")
IMPORT = r"""
    {package} ((?:\.\w+)*) (?: [ ]+ import [ ]* (?: \( ((?:[^()\#]|\#[^\n]*)*) \) | ((?:[^\n(\\]|\\\n)+) ) )?
"""


class Sources:
    """The sources of a package and of what uses it, each read once, with what it imports of the package.

    Parameters
    ----------
    root : Path
        The package's folder. Its name is the package's, its modules import each other by their full names.

    Notes
    -----
    A module and what it imports are read when its seal is first asked for: while the module is imported.
    What is edited later has no part in what this process compiles. Relative imports are not seen, and do not
    occur.
    """

    def __init__(self, root: Path) -> None:
        self._package = root.name
        self._statement = re.compile(IMPORT.format(package=root.name), re.VERBOSE)
        self._names: dict[str, str] = {}  # what a file of the package is called in a seal, wherever that lies
        self._files: dict[str, str] = {}  # of each module of the package, by its dotted name
        for folder, folders, files in os.walk(root):
            folders[:] = [each for each in folders if each != "__pycache__"]
            parts = Path(folder).relative_to(root).parts
            for file in files:
                stem, _, suffix = file.rpartition(".")
                if suffix == "py":
                    path = f"{folder}{os.sep}{file}"
                    self._names[path] = "/".join((*parts, file))
                    self._files[".".join((root.name, *parts, *([] if stem == "__init__" else [stem])))] = path
        self._registry = self._files.get(f"{root.name}.{REGISTRY}")
        self._losses = self._folder("losses")
        self._read: dict[str, tuple[bytes, list[str]]] = {}  # a hash of each source, and what it imports
        self._seals: dict[str, bytes] = {}

    def seal(self, path: str) -> bytes:
        """Return the seal of the kernels of a file, which need not belong to the package.

        OSError if a source cannot be read.
        """
        found = self._seals.get(path)
        if found is None:
            digest = hashlib.sha256(COMPILERS.encode())
            names = {self._names.get(each) or Path(each).name: each for each in self.closure(path)}
            for name in sorted(names):
                digest.update(name.encode() + b"\0" + self._of(names[name])[0])
            found = self._seals[path] = digest.digest()
        return found

    def closure(self, path: str) -> set[str]:
        """Return the files that go into a seal: the file, what it imports, and what that imports in turn."""
        reached = self._reached([path])
        if self._registry in reached:
            reached |= self._reached(self._losses)
        return reached

    def _reached(self, paths: Iterable[str]) -> set[str]:
        reached: set[str] = set()
        left = list(paths)
        while left:
            path = left.pop()
            if path not in reached:
                reached.add(path)
                left.extend(self._of(path)[1])
        return reached

    def _of(self, path: str) -> tuple[bytes, list[str]]:
        found = self._read.get(path)
        if found is None:
            content = Path(path).read_bytes()
            text = content.decode(errors="replace").replace("\r\n", "\n") + "\n"
            imports = list(self._imports(TYPE_CHECKING_BLOCK.sub("", text)))
            found = self._read[path] = hashlib.sha256(content).digest(), imports
        return found

    def _imports(self, text: str) -> Iterator[str]:
        """Yield the package's files that a source imports."""
        for found in self._statement.finditer(text):
            before = text[text.rfind("\n", 0, found.start()) + 1 : found.start()].strip()
            if before not in ("from", "import"):  # an example, or prose
                continue
            module = self._package + found[1]
            names = COMMENT.sub("", found[2] or found[3] or "").replace("\\\n", " ").split(",")
            # What is imported is a module itself, or stands in one: for a package, in its __init__.
            inside = [f"{module}.{name.split()[0]}" for name in names if name.strip()]
            for name in inside or [module]:
                file = self._files.get(name) or self._files.get(module)
                if file is not None:
                    yield file

    def _folder(self, name: str) -> list[str]:
        return [path for path, inside in self._names.items() if inside.startswith(f"{name}/")]


SOURCES = Sources(Path(__file__).parents[1])
