"""Run the code of a page of documentation, and redraw the pictures: `python -m docs.pages`.

The blocks marked `python` run in order in one namespace. A block that begins with `>>>` is a session, whose
output is compared with what the page states; any other is simply executed. Blocks marked `console` hold
commands after a `$`, and what they print, compared as well, where "..." stands for anything.
"""

from __future__ import annotations

import contextlib
import doctest
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parent
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.name != "benchmarks.md")  # which is made anew
BLOCK = re.compile(r"^```(?:python|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^\$ fastsoftmax (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
PICTURE = re.compile(r"!\[[^\]]*\]\(pictures/([^)]+)\)")


class Block(NamedTuple):
    """A piece of code or a session of commands, and the number of lines of the page before it."""

    code: str
    line: int


def blocks(text: str) -> list[Block]:
    """Return the Python and the commands of a page."""
    return [Block(found[1], text.count("\n", 0, found.start(1))) for found in BLOCK.finditer(text)]


def pictures(text: str) -> list[str]:
    """Return the names of the pictures that a page shows."""
    return PICTURE.findall(text)


def run(text: str, name: str) -> dict[str, Any]:
    """Run a page in the current folder, where its pictures come to lie, and return its namespace.

    Raises
    ------
    AssertionError
        If a session prints something else than the page states; says what.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for code, line in blocks(text):
        if code.startswith(">>>"):
            _converse(code, namespace, name, line)
        elif code.startswith("$ "):
            _command(code, name, line)
        else:
            exec(compile("\n" * line + code, name, "exec"), namespace)
    return namespace


def _converse(code: str, namespace: dict[str, Any], name: str, line: int) -> None:
    session = doctest.DocTestParser().get_doctest(code, namespace, name, name, line)
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(session, out=told.append, clear_globs=False)
    namespace.update(session.globs)  # the parser gave it a copy
    if told:
        raise AssertionError("".join(told))


def _command(code: str, name: str, line: int) -> None:
    """Run the commands of a session, and compare what they print."""
    from typer.testing import CliRunner

    from fastsoftmax.cli.app import app

    for found in COMMAND.finditer(code):
        said = CliRunner().invoke(app, shlex.split(found[1])).output
        if not doctest.OutputChecker().check_output(found[2], said, doctest.ELLIPSIS):
            place = line + code.count("\n", 0, found.start()) + 1
            raise AssertionError(f"{name}, line {place}: {found[0]}printed\n{said}")


@contextlib.contextmanager
def elsewhere() -> Iterator[Path]:
    """Work in a folder of its own that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield Path(folder)


def main() -> int:
    """Run every page and keep the pictures that it shows."""
    os.environ.setdefault("MPLBACKEND", "agg")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        with elsewhere() as folder:
            run(text, page.name)
            for name in pictures(text):
                shutil.copyfile(folder / name, FOLDER / "pictures" / name)
                print(f"{page.name}: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
