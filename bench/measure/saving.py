"""Saving of a grid while it runs: an interrupt, or a kill, loses seconds of it and not hours."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from bench.measure import machine, results

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SECONDS = 10.0  # between two files: a full grid takes a tenth of a second to write


class AsItGoes:
    """A pytest plugin that saves what pytest-benchmark has measured so far, as `--benchmark-json` would.

    The file is replaced whole. A run that measures nothing leaves an earlier one as it is.
    """

    def __init__(self, config: pytest.Config, path: Path) -> None:
        self._config = config
        self._path = path
        self._next = 0.0
        self._n_saved = 0

    def pytest_runtest_logfinish(self) -> None:
        """Save after a benchmark, if it is time to."""
        if time.perf_counter() >= self._next:
            self._save()

    def pytest_sessionfinish(self) -> None:
        """Save the rest, also after Ctrl-C."""
        self._save()

    def _save(self) -> None:
        measured: list[Any] = self._config._benchmarksession.benchmarks  # type: ignore[attr-defined]
        if len(measured) == self._n_saved:
            return
        hook = self._config.hook
        content = hook.pytest_benchmark_generate_json(
            config=self._config,
            benchmarks=measured,
            include_data=True,
            machine_info=machine.card(),
            commit_info=results.commit(),
        )
        hook.pytest_benchmark_update_json(config=self._config, benchmarks=measured, output_json=content)
        part = self._path.with_name(f"{self._path.name}.tmp")
        part.write_text(json.dumps(content, indent=4))
        part.replace(self._path)
        self._n_saved = len(measured)
        self._next = time.perf_counter() + SECONDS
