"""Self-test: which private parts of Numba and scikit-learn have changed in what is relied on here.

``python -m fastsoftmax.runtime.self_test`` says so of the versions that are installed; it is run before the
upper bounds in pyproject.toml are raised. By itself this module imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import logging
import re
import sys
import tempfile
import textwrap
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from fastsoftmax.runtime.private_parts import CACHE, DOOR, ESTIMATOR, PRIVATE, STRUCTURE, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType

logger = logging.getLogger(__name__)

TRIED = {"numba": (0, 68), "scikit-learn": (1, 9)}  # the newest versions that have passed
# `leaves` calls itself, so that it is not inlined whole. A file of its own: the cache asks for one.
KERNELS = """
    from fastsoftmax.runtime import native
    from fastsoftmax.runtime.jit import inner, jit

    @inner
    def leaves(n):
        return 1.0 if n < 2 else leaves(n - 1) + leaves(n - 2)

    @jit
    def outer(out, n):
        out[0] = leaves(n) + leaves(n + 1)

    @jit
    def by_address(address, out, n):
        native.call(address, (out, n))
"""


@contextlib.contextmanager
def _kernels() -> Iterator[tuple[Callable[[], ModuleType], Path]]:
    """Give what loads the `KERNELS` anew as a module, and the folder that they are kept in."""
    config = importlib.import_module("numba").config
    with tempfile.TemporaryDirectory() as name:
        file, cache = Path(name) / "kernels.py", Path(name) / "cache"
        file.write_text(textwrap.dedent(KERNELS))

        def load() -> ModuleType:
            spec = importlib.util.spec_from_file_location("fastsoftmax_self_test", file)
            assert spec is not None
            assert spec.loader is not None
            # Numba looks for the module of what it links there.
            module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module

        before, config.CACHE_DIR = config.CACHE_DIR, str(cache)
        try:
            yield load, cache
        finally:
            config.CACHE_DIR = before
            sys.modules.pop("fastsoftmax_self_test", None)


def _runs_by_address(_: object) -> bool:
    import numpy as np
    from numba import types

    from fastsoftmax.runtime import native

    out = np.zeros(1)
    with _kernels() as (load, _folder):
        kernels = load()
        address = native.address_of(kernels.outer, types.float64[::1], types.int64)
        kernels.by_address(address, out, 7)
    return bool(out[0] == 21.0 + 34.0)


def _is_kept(_: object) -> bool:
    import numpy as np

    with _kernels() as (load, folder):
        first, again = load().outer, load().outer
        first(np.zeros(1), 7)
        files = [path for path in folder.rglob("*") if path.is_file()]
        again(np.zeros(1), 7)
        hits = [sum(each.stats.cache_hits.values()) for each in (first, again)]
        return hits == [0, 1] and all(path.suffix == ".kernel" for path in files) and len(files) == 1


def _is_private(_: object) -> bool:
    import numpy as np
    from llvmlite.binding import Linkage

    with _kernels() as (load, _folder):
        outer = load().outer
        outer(np.zeros(1), 7)
    (result,) = outer.overloads.values()
    found = [function.linkage for function in result.library.get_defined_functions()]
    return Linkage.linkonce_odr not in found and Linkage.internal in found


def _is_part_only(_: object) -> bool:
    import numpy as np

    from fastsoftmax.runtime.private_library import InnerCompiler

    out = np.zeros(1)
    with _kernels() as (load, _folder):
        kernels = load()
        kernels.outer(out, 7)
    (result,) = kernels.leaves.overloads.values()
    return bool(out[0] == 21.0 + 34.0) and type(result.library) is InnerCompiler.library_class


def _checks_parameters(_: object) -> bool:
    from sklearn.base import BaseEstimator

    from fastsoftmax.runtime.scikit_learn import Hidden, Interval, StrOptions, _fit_context

    class Estimator(BaseEstimator):
        _parameter_constraints = {  # noqa: RUF012 - scikit-learn's name, and its way
            "C": [Interval(Real, 0, None, closed="right")],
            "penalty": [StrOptions({"l2"}), Hidden(StrOptions({"deprecated"}))],
        }

        def __init__(self, C: float = 1.0, penalty: str = "deprecated") -> None:
            self.C = C
            self.penalty = penalty

        @_fit_context(prefer_skip_nested_validation=True)
        def fit(self, X: object, y: object) -> Estimator:
            return self

    Estimator().fit(None, None)
    for wrong in ({"C": 0.0}, {"penalty": "l1"}):
        try:
            Estimator(**wrong).fit(None, None)
        except ValueError:
            continue
        return False
    return True


BEHAVIOURS = (
    Part(
        "numba: Dispatcher.get_compile_result, CPUCallConv.call_function",
        "a function that is called by its address gives the right number",
        f"{DOOR} runtime.native",
        _runs_by_address,
        is_behaviour=True,
    ),
    Part(
        "numba: Dispatcher._cache, FunctionCache._cache_file, FunctionCache._impl",
        "a compiled function is written to a file of ours, and found there",
        f"{DOOR} {CACHE}",
        _is_kept,
        is_behaviour=True,
    ),
    Part(
        "numba: Compiler.state, JITCodeLibrary._final_module",
        "what a function calls can be made internal (not linkonce_odr) before its library is optimised",
        PRIVATE,
        _is_private,
        is_behaviour=True,
    ),
    Part(
        "numba: Compiler.state, JITCodeLibrary._finalize_final_module, get_pointer_to_function, codegen",
        "a function that only others call can be left without machine code, and they give the right number",
        PRIVATE,
        _is_part_only,
        is_behaviour=True,
    ),
    Part(
        "sklearn.base.BaseEstimator._parameter_constraints",
        "a method under _fit_context raises a ValueError for a parameter that they exclude",
        f"{ESTIMATOR} estimator.hyperparameters",
        _checks_parameters,
        is_behaviour=True,
    ),
)
PARTS = (*STRUCTURE, *BEHAVIOURS)


def _found(name: str) -> object:
    """Return what has a dotted name: a module as far as there are such, and attributes from there on."""
    module, *attributes = name.split(".")
    found: object = importlib.import_module(module)
    for attribute in attributes:
        module = f"{module}.{attribute}"
        try:
            found = getattr(found, attribute)
        except AttributeError:  # a module that has not been imported yet, or nothing
            found = importlib.import_module(module)
    return found


def _stands(part: Part) -> bool:
    try:
        return part.check(None if part.is_behaviour else _found(part.name))
    except Exception:
        return False


def _asked(library: str) -> list[Part]:
    """Return the parts of a library that are relied on in the version that is installed."""
    parts = [part for part in PARTS if part.library == library]
    if library == "scikit-learn" and importlib.util.find_spec("sklearn.callback") is None:  # from 1.9 on
        return [part for part in parts if not part.name.startswith("sklearn.callback")]
    return parts


def changed(libraries: Iterable[str] = tuple(TRIED), *, structure_only: bool = False) -> list[str]:
    """Return a sentence for each private part that has changed.

    Parameters
    ----------
    libraries : iterable of {"numba", "scikit-learn"}
    structure_only : bool
        Only whether names are there and can be called as they are. Compiles nothing: some milliseconds
        (about a second otherwise).

    Notes
    -----
    What parts do together is tried only if each is there by itself, and of a class that has changed nothing
    more is said: a part that is gone gives one sentence.
    """
    sentences = []
    for library in libraries:
        parts = _asked(library)
        lost = [part for part in parts if not part.is_behaviour and not _stands(part)]
        lost = [part for part in lost if not any(part.name.startswith(f"{other.name}.") for other in lost)]
        if not lost and not structure_only:
            lost = [part for part in parts if part.is_behaviour and not _stands(part)]
        sentences += [part.sentence for part in lost]
    return sentences


@functools.cache
def warn_if_newer(library: str, version: str) -> None:
    """Log, once, what has changed of a library's private parts if this version has not been tried."""
    if tuple(map(int, re.findall(r"\d+", version)[:2])) > TRIED[library]:
        for sentence in changed([library], structure_only=True):
            logger.warning("fastsoftmax: %s %s: %s", library, version, sentence)


def main() -> int:
    """Print what has changed. Return the exit status: 1 if anything has."""
    sentences = changed()
    print("\n".join(sentences) or "nothing has changed")
    return int(bool(sentences))


if __name__ == "__main__":
    sys.exit(main())
