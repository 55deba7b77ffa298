"""Law: no answer differs by a bit, whatever becomes of the workers; and what cannot go on says why.

Each kill takes seconds, until another process has started: these run with FASTSOFTMAX_FAULTS=1 only.
"""

from __future__ import annotations

import dataclasses
import os
import signal
from typing import Any

import numpy as np
import pytest

from fastsoftmax import SoftmaxObjective, SoftmaxRegression, on_workers
from fastsoftmax.contracts.queries import LossGrad
from fastsoftmax.persistence import checkpoint
from tests.dask.problems import MEMORY, arrays, lists, on_one_machine, problem, said

pytestmark = pytest.mark.skipif(
    not os.environ.get("FASTSOFTMAX_FAULTS"), reason="set FASTSOFTMAX_FAULTS=1: a minute of killed processes"
)


@pytest.fixture(scope="module")
def expected():
    return said(SoftmaxRegression().fit(on_one_machine(*problem())))


def kill(client, n_workers):
    """End the processes of some workers at once; their nannies start others."""
    for pid in list(client.run(os.getpid).values())[:n_workers]:
        os.kill(pid, signal.SIGKILL)


@dataclasses.dataclass(frozen=True)
class KillsOnce:
    """A query that ends the process of the first worker that it comes to."""

    query: Any
    mark: str

    def on(self, *arguments):
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return self.query.on(*arguments)
        return os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_during_a_reading(client, tmp_path):
    X, y, w = problem()
    objective = SoftmaxObjective(on_workers(*arrays(X, y, w), memory=MEMORY), l2=0.1)
    x = np.random.default_rng(1).normal(size=objective.n_params)
    source, query = objective._rows.source, LossGrad(objective.unpack(x))
    before = source.sum(query)
    for number in range(2):
        found = source.sum(KillsOnce(query, str(tmp_path / f"killed {number}")))
        assert (tmp_path / f"killed {number}").exists()
        assert (found.value, found.joined.tobytes()) == (before.value, before.joined.tobytes())


def test_workers_that_are_killed_and_added_between_readings(client, expected):
    events = []

    def disturb(record):
        if len(events) == 1:
            kill(client, 1)
        if len(events) == 3:
            client.cluster.scale(3)
            client.wait_for_workers(3, timeout=120)
        events.append(record.passes)

    model = SoftmaxRegression(callbacks=[disturb])
    found = said(model.fit(on_workers(*arrays(*problem()), memory=MEMORY)))
    assert len(events) > 4
    assert found == expected


def test_a_checkpoint_goes_on_with_another_number_of_workers(client, tmp_path, monkeypatch, expected):
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "TIME_FRACTION", np.inf)

    class StoppedError(Exception):
        pass

    def stop(record):
        if record.passes >= 5:
            raise StoppedError

    path, parts = tmp_path / "state", arrays(*problem())
    with pytest.raises(StoppedError):
        SoftmaxRegression(callbacks=[stop], checkpoint=path).fit(on_workers(*parts, memory=MEMORY))
    assert path.exists()
    client.cluster.scale(1)
    found = SoftmaxRegression(checkpoint=path).fit(on_workers(*parts, memory=MEMORY))
    assert said(found)[:5] == expected[:5]
    client.cluster.scale(2)
    client.wait_for_workers(2, timeout=120)


def test_scattered_rows_that_are_lost_are_said_to_be(client):
    blocks = [client.scatter([part.compute(scheduler="sync") for part in of]) for of in lists(*problem())]

    events = []

    def disturb(record):
        if not events:
            kill(client, 2)
        events.append(record)

    with pytest.raises(RuntimeError, match="were scattered"):
        SoftmaxRegression(callbacks=[disturb]).fit(on_workers(*blocks, memory=MEMORY))
