"""Law: the seal of a kernel changes with the sources that go into it, and with nothing else."""

from __future__ import annotations

import ast
import shutil
import textwrap
from pathlib import Path

import pytest

import fastsoftmax
from fastsoftmax.runtime.seals import Sources

MINI = {
    "__init__.py": "",
    "runtime/__init__.py": "",
    "runtime/jit.py": "import numba\n",
    "contracts/__init__.py": """
        from typing import TYPE_CHECKING
        from mini.contracts.values import Params
        if TYPE_CHECKING:
            from mini.contracts.protocols import Source

            from mini.contracts.protocols import Solver
        VERSION = 1
    """,
    "contracts/values.py": "class Params: ...\n",
    "contracts/protocols.py": "class Source: ...\nclass Solver: ...\n",
    "losses/__init__.py": "from mini.losses import row_functions\n",
    "losses/row_functions.py": "from mini.runtime.jit import numba\n",
    "losses/softmax.py": "from mini.simd import exp\n",
    "simd/__init__.py": "from mini import plot\n",
    "simd/exp.py": '"""Like this:\n\n>>> from mini import plot\n"""\n',
    "simd/tiles.py": "from mini.simd.exp import (  # (all of it)\n    a,  # a, b)\n    b as c,\n)\n",
    "simd/stripes.py": "from mini.simd import tiles as t, \\\n    exp\n",
    "kernels/__init__.py": "",
    "kernels/plain.py": "from mini.runtime.jit import jit\n",
    "kernels/rows.py": "from mini.simd import (\n    stripes,\n)\nfrom mini.contracts import Params\n",
    "kernels/verbs.py": "def f():\n    import mini.losses.row_functions as r\n",
    "kernels/cycle.py": "from mini.kernels import plain, cycle\nfrom mini.kernels.verbs import f\n",
    "plot.py": "import mini\n",
}
REACHED = {  # beside the file itself
    "kernels/plain.py": {"runtime/jit.py"},
    "simd/tiles.py": {"simd/exp.py"},
    "simd/stripes.py": {"simd/exp.py", "simd/tiles.py"},
    "kernels/rows.py": {
        "simd/stripes.py", "simd/tiles.py", "simd/exp.py", "contracts/__init__.py", "contracts/values.py"
    },
    "kernels/verbs.py": {
        "losses/__init__.py", "losses/row_functions.py", "losses/softmax.py", "simd/exp.py", "runtime/jit.py"
    },
    "kernels/cycle.py": {
        "kernels/plain.py", "kernels/verbs.py", "runtime/jit.py",
        "losses/__init__.py", "losses/row_functions.py", "losses/softmax.py", "simd/exp.py",
    },
    "plot.py": {"__init__.py"},
}  # fmt: skip


def edit(path):
    with path.open("a") as file:
        file.write("\n")


@pytest.fixture
def mini(tmp_path):
    """The folder of a package in miniature."""
    root = tmp_path / "mini"
    for name, text in MINI.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text))
    return root


@pytest.mark.parametrize("name", REACHED)
def test_what_goes_into_a_kernel(name, mini):
    found = {Path(path).relative_to(mini).as_posix() for path in Sources(mini).closure(str(mini / name))}
    assert found == REACHED[name] | {name}


@pytest.mark.parametrize("name", REACHED)
def test_seals_change_with_what_goes_into_a_kernel_and_nothing_else(name, mini):
    path = str(mini / name)
    before = Sources(mini).seal(path)
    assert Sources(mini).seal(path) == before
    for other in MINI:
        text = (mini / other).read_text()
        edit(mini / other)
        changes = other in REACHED[name] | {name}
        assert (Sources(mini).seal(path) != before) == changes, other
        (mini / other).write_text(text)


def test_seals_are_of_what_was_imported(mini):
    # not of what lies there when the first kernel has been compiled
    sources = Sources(mini)
    path = str(mini / "kernels" / "rows.py")
    before = sources.seal(path)
    edit(mini / "simd" / "exp.py")
    assert sources.seal(path) == before
    assert Sources(mini).seal(path) != before


def test_seals_do_not_depend_on_the_place(mini, tmp_path):
    shutil.copytree(mini, tmp_path / "there" / "mini")
    there = Sources(tmp_path / "there" / "mini").seal(
        str(tmp_path / "there" / "mini" / "kernels" / "rows.py")
    )
    assert there == Sources(mini).seal(str(mini / "kernels" / "rows.py"))


def test_seals_of_files_outside_of_the_package(mini, tmp_path):
    outside = tmp_path / "loss.py"
    outside.write_text("import mini.simd.exp\n")
    before = Sources(mini).seal(str(outside))
    edit(mini / "contracts" / "values.py")
    assert Sources(mini).seal(str(outside)) == before
    edit(mini / "simd" / "exp.py")
    after = Sources(mini).seal(str(outside))
    assert after != before
    edit(outside)
    assert Sources(mini).seal(str(outside)) != after
    with pytest.raises(OSError, match="nowhere"):
        Sources(mini).seal(str(tmp_path / "nowhere.py"))


DENSE, ROWS = "kernels/cpu/jitted/dense.py", "kernels/cpu/jitted/rows.py"
KERNELS = (DENSE, ROWS, "linalg/jitted/vectors.py", "simd/exponentials.py")
EDITS = {  # which of these an edit changes
    "plot/history.py": (),
    "cli/fit.py": (),
    "estimator/softmax_regression.py": (),
    "persistence/container.py": (),
    "data/readers/npz.py": (),
    "contracts/protocols.py": (),
    "solvers/lbfgs.py": (),
    "__init__.py": (),
    "kernels/cpu/__init__.py": (),
    "kernels/cpu/dense.py": (),
    "linalg/vectors.py": (),
    "runtime/executor.py": (),
    DENSE: (DENSE,),
    "linalg/jitted/vectors.py": ("linalg/jitted/vectors.py",),
    "losses/sigmoid.py": (DENSE, ROWS),
    "losses/jitted/sigmoid.py": (DENSE, ROWS),
    "simd/registers.py": (DENSE, ROWS, "simd/exponentials.py"),
    "runtime/jit.py": KERNELS,
}


def test_seals_of_this_package(tmp_path):
    root = tmp_path / "fastsoftmax"
    shutil.copytree(Path(fastsoftmax.__file__).parent, root, ignore=shutil.ignore_patterns("__pycache__"))

    def seals():
        sources = Sources(root)
        return {name: sources.seal(str(root / name)) for name in KERNELS}

    before = seals()
    for name, changed in EDITS.items():
        text = (root / name).read_text()
        edit(root / name)
        after = seals()
        assert {each for each in KERNELS if after[each] != before[each]} == set(changed), name
        (root / name).write_text(text)


def test_imports_are_found_as_python_finds_them():
    # by the slow way, for every module of the package
    root = Path(fastsoftmax.__file__).parent
    sources = Sources(root)

    def imported(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        if isinstance(node, ast.ImportFrom):
            for each in node.names:
                whole = f"{node.module}.{each.name}"
                yield whole if whole in sources._files else node.module
        for child in ast.iter_child_nodes(node):
            yield from imported(child)

    for path in root.rglob("*.py"):
        wanted = {sources._files.get(name) for name in imported(ast.parse(path.read_text()))} - {None}
        found = set(sources._of(str(path))[1])
        assert found == wanted or (found > wanted and path.parent.name == "runtime"), (
            path
        )  # lines in a string
