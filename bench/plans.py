"""Which steps each measuring command has, by its options. Nothing is measured, and no data are read, here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Iterable

    from bench.measure.steps import Step


class NoSuchSetError(ValueError):
    """A set was asked for that there is not."""


def of(options: argparse.Namespace) -> list[Step]:
    """Give the steps of a command with its options."""
    return STEPS[options.word](options)


def chosen_sets(options: argparse.Namespace, quick: Iterable[str], known: Collection[str]) -> list[str]:
    """Give the sets that were asked for, or the quick ones, or all."""
    unknown = set(options.sets or ()) - set(known)
    if unknown:
        raise NoSuchSetError(f"no such set: {', '.join(sorted(unknown))}")
    return list(options.sets or (quick if options.quick else known))


def limit_of(options: argparse.Namespace, grid: Any) -> float:
    """Give the seconds that a fit may take."""
    return float(options.time_limit or (grid.QUICK_SECONDS if options.quick else grid.SECONDS))


def run(options: argparse.Namespace) -> list[Step]:
    """List the grid as pytest would, all of it or the quick part, whatever `-k` will choose of it."""
    from bench import test_fits, test_passes, test_rows
    from bench.measure.saving import step_of

    return [
        step_of(f"{name}[{match.id}]")
        for module in (test_fits, test_passes, test_rows)
        for name, test in vars(module).items()
        if name.startswith("test_")
        for match in test.pytestmark[0].args[1]
        if not options.quick or all(mark.name != "full" for mark in match.marks)
    ]


def memory(options: argparse.Namespace) -> list[Step]:
    from bench.measure import memory as grid

    return grid.steps(options.quick, options.k)


def scaling(options: argparse.Namespace) -> list[Step]:
    from bench.measure import scaling as grid

    return grid.steps(options.quick)


def optimum(options: argparse.Namespace) -> list[Step]:
    from bench.measure import optimum as grid

    chosen = chosen_sets(options, grid.QUICK, grid.sets(options.dtype))
    limit = limit_of(options, grid)
    return grid.steps(grid.Plan(chosen, options.C or grid.STRENGTHS, options.solvers, options.dtype, limit))


def sparse_plan(options: argparse.Namespace) -> Any:
    """Give the plan of elastic nets, which has a result of its own way."""
    from bench.measure import sparse as grid

    chosen = chosen_sets(options, grid.QUICK, grid.sets())
    around, kinds = options.around or grid.AROUND, options.kinds or list(grid.KINDS)
    return grid.Plan(chosen, around, kinds, options.solvers, limit_of(options, grid))


def sparse(options: argparse.Namespace) -> list[Step]:
    from bench.measure import results
    from bench.measure import sparse as grid

    known = results.benchmarks(results.FOLDER / f"{options.name}.json")
    return grid.left(sparse_plan(options), {each["name"] for each in known}, options.redo)


def certified(options: argparse.Namespace) -> list[Step]:
    from bench.measure import certified as grid

    chosen = chosen_sets(options, grid.QUICK, grid.sets("float64"))
    strengths = options.C or (grid.QUICK_STRENGTHS if options.quick else grid.STRENGTHS)
    limit = limit_of(options, grid.optimum)
    return grid.steps(grid.Plan(chosen, strengths, options.dtype or grid.DTYPES, options.solvers, limit))


def small(options: argparse.Namespace) -> list[Step]:
    from bench.measure import small as grid

    return grid.steps(options.quick, options.k, options.threads)


def families(options: argparse.Namespace) -> list[Step]:
    from bench.measure import families as grid

    strengths = options.C or (grid.QUICK_STRENGTHS if options.quick else grid.STRENGTHS)
    return grid.steps(grid.Plan(options.quick, options.k, strengths, limit_of(options, grid)))


def disk(options: argparse.Namespace) -> list[Step]:
    from bench.measure import disk as grid

    sizes, memory = (grid.QUICK, grid.QUICK_MEMORY) if options.quick else (grid.FULL, grid.FULL_MEMORY)
    rounds = 3 if options.quick else grid.ROUNDS
    return grid.steps(grid.Plan(sizes, options.folder or grid.FOLDER, memory, options.k, rounds))


def sparse_cv(options: argparse.Namespace) -> list[Step]:
    from bench.measure import sparse_cv as grid

    return grid.steps(options.k)


def dask(options: argparse.Namespace) -> list[Step]:
    from bench.measure import dask_cluster as grid

    return grid.steps(grid.QUICK if options.quick else grid.FULL, options.k)


def backends(options: argparse.Namespace) -> list[Step]:
    from bench.measure import backends as grid

    if len(grid.missing()) == len(grid.LIBRARIES):
        raise ModuleNotFoundError(grid.LIBRARIES[0], name=grid.LIBRARIES[0])
    return grid.steps(grid.QUICK if options.quick else grid.FULL, options.k)


def cold(options: argparse.Namespace) -> list[Step]:
    from bench.measure import cold as grid

    return grid.steps(grid.QUICK if options.quick else grid.FULL, options.k)


STEPS: dict[str, Callable[[argparse.Namespace], list[Step]]] = {
    "run": run,
    "memory": memory,
    "scaling": scaling,
    "optimum": optimum,
    "sparse": sparse,
    "certified": certified,
    "small": small,
    "families": families,
    "disk": disk,
    "sparse-cv": sparse_cv,
    "dask": dask,
    "backends": backends,
    "cold": cold,
}
