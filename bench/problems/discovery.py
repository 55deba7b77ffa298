"""Files that are added without a line elsewhere: `of_NAME.py` in `contenders` or `problems`.

They are found in this checkout, and in the folder FASTSOFTMAX_BENCH (or several, as in PATH) where it has
the same two folders.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.problems.descriptions import Problem

HERE = Path(__file__).resolve().parents[1]
PREFIX = "of_"
OURS_OR_NONE = ("bench", "fastsoftmax", "")  # what an added file may not lack


def folders() -> list[Path]:
    """Give the folders outside of this checkout."""
    return [Path(part) for part in os.environ.get("FASTSOFTMAX_BENCH", "").split(os.pathsep) if part]


def added(kind: str) -> dict[str, Path]:
    """Give the added files of `contenders` or `problems` by name, in the order of the names."""
    files = [file for place in (HERE, *folders()) for file in sorted((place / kind).glob(f"{PREFIX}*.py"))]
    by_name: dict[str, Path] = {}
    for file in files:
        name = file.stem.removeprefix(PREFIX)
        if name in by_name:
            raise ValueError(f"{kind} has two files for {name!r}: {by_name[name]} and {file}")
        by_name[name] = file
    return by_name


@functools.cache
def imported(file: Path) -> Any:
    """Import an added file, or give None where a library that it imports is not installed."""
    name = f"bench_{file.parent.name}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        del sys.modules[name]
        if (error.name or "").partition(".")[0] in OURS_OR_NONE:
            raise
        return None
    return module


def added_problems(*operations: str) -> dict[str, Problem]:
    """Give the problems that added files have for any of these operations, by key."""
    modules = [module for file in added("problems").values() if (module := imported(file)) is not None]
    found: dict[str, Problem] = {}
    for module in modules:
        for operation, problems in module.PROBLEMS.items():
            if operation in operations:
                found |= {problem.key: problem for problem in problems}
    return found
