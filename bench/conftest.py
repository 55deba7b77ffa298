"""Hooks: Numba's cache by source, the full grid by option, and results that name no machine and no user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

# Here and not in a hook: it has to be imported before anything imports Numba.
import bench.measure.numba_cache  # noqa: F401

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="benchmarks: the full grid, not only the quick one")
    parser.addoption("--save-to", type=Path, metavar="FILE", help="benchmarks: save the results as they come")
    parser.addoption(
        "--begin-anew", action="store_true", help="benchmarks: not where an unfinished result ended"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "full: part of the full grid only")
    # A test that is skipped, or fails in the comparison, never comes to its timing; it has said so already.
    config.addinivalue_line("filterwarnings", "ignore:Benchmark fixture was not used at all")
    path = config.getoption("--save-to")
    if path is not None:
        from bench.measure.saving import AsItGoes

        options = {"full": config.getoption("--full"), "k": config.getoption("keyword")}
        plugin = AsItGoes(config, path, options, redo=config.getoption("--begin-anew"))
        config.pluginmanager.register(plugin)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    items[:] = [item for item in items if not item.get_closest_marker("full")]
    config.hook.pytest_deselected(items=left_out)


def pytest_benchmark_generate_machine_info() -> dict[str, Any]:
    from bench.measure import machine

    return machine.card()


def pytest_benchmark_generate_commit_info() -> dict[str, Any]:
    from bench.measure import results

    return results.commit()


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """Keep what a reader of results can use; the options repeat pytest-benchmark's defaults."""
    for result in output_json["benchmarks"]:
        del result["options"]
