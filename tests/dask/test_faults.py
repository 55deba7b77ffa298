"""Law: no answer differs by a bit, whatever becomes of the workers; and what cannot go on says why.

Each kill takes seconds, until another process has started: these run with FASTSOFTMAX_FAULTS=1 only.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pytest

from fastsoftmax import SoftmaxObjective, SoftmaxRegression, fit_on_worker, on_workers
from fastsoftmax.contracts.queries import LossGrad
from fastsoftmax.persistence import checkpoint
from tests.dask.problems import MEMORY, arrays, is_idle, lists, on_one_machine, problem, said

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


def test_a_worker_that_is_gone_for_good(client, expected):
    seen = []

    def disturb(record):
        if len(seen) == 1:  # a nanny that does not start another
            nanny = next(iter(client.cluster.workers.values()))
            nanny.auto_restart = False
            os.kill(nanny.process.pid, signal.SIGKILL)
        if len(seen) == 3:
            client.cluster.scale(3)
            kill(client, 2)
        seen.append(record.passes)

    found = SoftmaxRegression(callbacks=[disturb]).fit(on_workers(*arrays(*problem()), memory=MEMORY))
    assert len(seen) > 3
    assert said(found) == expected
    client.cluster.scale(2)
    client.wait_for_workers(2, timeout=120)


def test_the_bits_are_the_same_on_one_to_four_workers(client, expected):
    for n_workers in (4, 3, 1, 2):
        client.cluster.scale(n_workers)
        client.wait_for_workers(n_workers, timeout=120)
        while len(client.nthreads()) > n_workers:
            time.sleep(0.1)
        rows = on_workers(*arrays(*problem()), memory=MEMORY)
        assert said(SoftmaxRegression().fit(rows)) == expected
        there = client.who_has(rows.supply.units)
        assert len({name for names in there.values() for name in names}) == n_workers


def test_ctrl_c_leaves_the_cluster_idle_and_usable(client, expected):
    parts, seen = arrays(*problem()), []

    def slow(block):
        time.sleep(1.5)
        return block

    def disturb(record):
        seen.append(record)
        if len(seen) == 3:
            interrupt(0.01)

    slowly = on_workers(parts[0].map_blocks(slow, dtype=float), *parts[1:], memory=MEMORY)
    interrupt(0.5)  # while the blocks are made
    with pytest.raises(KeyboardInterrupt):
        SoftmaxRegression().fit(slowly)
    del slowly
    assert is_idle(client)
    with pytest.raises(KeyboardInterrupt):
        SoftmaxRegression(callbacks=[disturb], tol=1e-12).fit(on_workers(*parts, memory=MEMORY))
    assert is_idle(client)
    assert said(SoftmaxRegression().fit(on_workers(*parts, memory=MEMORY))) == expected


def test_a_fit_in_a_task_outlives_its_worker_and_ends_with_ctrl_c(client, tmp_path, expected):
    mark = tmp_path / "killed"
    model = SoftmaxRegression(callbacks=[KillsAtStep(3, str(mark))])
    assert said(fit_on_worker(model, on_workers(*arrays(*problem()), memory=MEMORY))) == expected
    assert mark.exists()
    interrupt(3.0)
    slowly = SoftmaxRegression(callbacks=[Waits()], tol=1e-12)
    with pytest.raises(KeyboardInterrupt):
        fit_on_worker(slowly, on_workers(*arrays(*problem()), memory=MEMORY))
    assert not hasattr(slowly, "coef_")
    assert is_idle(client)


@dataclasses.dataclass
class KillsAtStep:
    """A callback that ends the process of the first fit which comes so far."""

    n_passes: int
    mark: str

    def __call__(self, record):
        if record.passes >= self.n_passes and not Path(self.mark).exists():
            Path(self.mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Waits:
    """A callback that takes its time."""

    def __call__(self, record):
        time.sleep(2.0)


def interrupt(seconds):
    """Press Ctrl-C after so many seconds."""
    threading.Timer(seconds, signal.raise_signal, [signal.SIGINT]).start()


CLIENT = """
import sys
from distributed import Client
from fastsoftmax import SoftmaxRegression, on_workers
from fastsoftmax.persistence import checkpoint
from tests.dask.problems import MEMORY, arrays, problem
checkpoint.SECONDS, checkpoint.TIME_FRACTION = 0.0, float("inf")
client = Client(sys.argv[1])
def said(record):
    print(record.passes, flush=True)
    if record.passes >= 5:
        sys.stdin.read()  # until it is ended
rows = on_workers(*arrays(*problem()), memory=MEMORY)
SoftmaxRegression(callbacks=[said], checkpoint=sys.argv[2]).fit(rows)
"""


def test_a_client_that_goes_away_leaves_workers_and_a_checkpoint(client, tmp_path, expected):
    path = tmp_path / "state"
    command = [sys.executable, "-c", CLIENT, client.scheduler.address, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        while int(other.stdout.readline()) < 5:
            pass
        other.kill()
    assert is_idle(client)  # its futures are let go of
    found = SoftmaxRegression(checkpoint=path).fit(on_workers(*arrays(*problem()), memory=MEMORY))
    assert said(found)[:5] == expected[:5]


def test_scattered_rows_that_are_lost_are_said_to_be(client):
    blocks = [client.scatter(client.gather(client.compute(of))) for of in lists(*problem())]

    events = []

    def disturb(record):
        if not events:
            kill(client, 2)
        events.append(record)

    with pytest.raises(RuntimeError, match="were scattered"):
        SoftmaxRegression(callbacks=[disturb]).fit(on_workers(*blocks, memory=MEMORY))


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_worker_of_several_task_threads_however_it_is_started(method, expected):
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": method}),
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=3, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as of_threads,
    ):
        futures = [of_threads.compute(part) for part in lists(*problem())]
        for _ in range(2):
            assert said(SoftmaxRegression().fit(on_workers(*futures, memory=MEMORY))) == expected
