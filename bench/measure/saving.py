"""Saving of a grid while it runs: an interrupt, or a kill, loses seconds of it and not hours.

What an unfinished result of the same run has is not measured again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.measure import machine, results
from bench.measure.steps import Step, announce, begun, steps_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pytest

SECONDS = 10.0  # between two files: a full grid takes a tenth of a second to write


def step_of(name: str) -> Step:
    """Give a test as a step whose minutes are counted; it is pytest that runs it."""
    return Step(name, list)


class AsItGoes:
    """A pytest plugin that saves what pytest-benchmark has measured so far, as `--benchmark-json` would.

    The file is replaced whole. A run that measures nothing leaves an earlier one as it is.
    """

    def __init__(
        self, config: pytest.Config, path: Path, options: Mapping[str, Any] | None = None, redo: bool = False
    ) -> None:
        self._config = config
        self._path = path
        self._next = 0.0
        self._n_saved = 0
        self._began = 0.0
        self._under, self._before = begun(path, {"command": "run", **(options or {})}, redo)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what an unfinished result has."""
        there = set(steps_of(self._before))
        left_out = [item for item in items if item.name in there]
        items[:] = [item for item in items if item.name not in there]
        self._config.hook.pytest_deselected(items=left_out)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Say how long what is left will take."""
        print()
        announce("run", self._path, [step_of(item.name) for item in session.items], len(self._before))

    def pytest_runtest_logstart(self) -> None:
        """Begin to count the seconds of a test."""
        self._began = time.perf_counter()

    def pytest_runtest_logfinish(self) -> None:
        """Note the seconds of a benchmark, and save if it is time to."""
        seconds = time.perf_counter() - self._began
        for benchmark in self._measured():
            if "step" not in benchmark.extra_info:
                benchmark.extra_info.update(step=benchmark.name, step_seconds=seconds)
        if time.perf_counter() >= self._next:
            self._save(finished=False)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Save the rest, also after Ctrl-C. A test that failed has been run; whoever mends it begins anew."""
        import pytest  # a plugin of it: it is there

        nothing_left = int(exitstatus) == pytest.ExitCode.NO_TESTS_COLLECTED and bool(self._before)
        if nothing_left:  # a run that was killed after its last test
            session.exitstatus = pytest.ExitCode.OK
        finished = int(exitstatus) in (0, 1) or nothing_left
        self._save(finished=finished)
        if not finished and self._n_saved:
            print(
                f"\n{self._path.name} is unfinished: `--name {self._path.stem}` goes on with it", flush=True
            )

    def _measured(self) -> list[Any]:
        measured: list[Any] = self._config._benchmarksession.benchmarks  # type: ignore[attr-defined]
        return measured

    def _save(self, *, finished: bool) -> None:
        measured = self._measured()
        if not (measured or self._before) or (len(measured) == self._n_saved and not finished):
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
        content["benchmarks"] = [*self._before, *content["benchmarks"]]
        if not finished:
            content["unfinished"] = {"under": self._under, "steps": steps_of(content["benchmarks"])}
        results.replace(self._path, content)
        self._n_saved = len(measured)
        self._next = time.perf_counter() + SECONDS
