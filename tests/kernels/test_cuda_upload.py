"""Law: rows that are brought to a device piece by piece arrive unharmed, in any order its streams may have.

The streams here do what they were asked for as late as they may, or one of them earlier than another: in any
order that the events allow.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip("numba-cuda is not installed", allow_module_level=True)

from fastsoftmax.kernels.cuda.upload import Uploader


class Event:
    """Marks a place in a stream; what was recorded last counts for every wait from then on."""

    def __init__(self, machine):
        self.machine, self.done = machine, None

    def record(self, stream):
        mark = [False]
        self.done = mark
        stream.put(f"record {id(self)}", lambda: mark.__setitem__(0, True))

    def synchronize(self):
        mark = self.done
        while mark is not None and not mark[0]:
            self.machine.step()


class Stream:
    """Work in the order in which it was asked for; a thing waited for stops it."""

    def __init__(self, machine):
        self.machine, self.queue = machine, []
        machine.streams.append(self)

    def put(self, name, action, ready=lambda: True):
        self.queue.append((name, action, ready))

    def wait_event(self, event):
        mark = event.done
        self.put("wait", lambda: None, lambda: mark is None or mark[0])

    def synchronize(self):
        while self.queue:
            self.machine.step()


class Machine:
    """Streams that go on in an order drawn at random, or one of them always first."""

    def __init__(self, seed, first=None):
        self.rng, self.first, self.streams = np.random.default_rng(seed), first, []
        self.work = self.stream()
        self.copies = 0

    def stream(self):
        return Stream(self)

    def current(self):
        return self.work

    def event(self):
        return Event(self)

    def pinned(self, n_bytes):
        return np.full(n_bytes, 0xAA, np.uint8)

    device_buffer = pinned

    def copy(self, pinned, buffer, n_bytes, stream):
        self.copies += 1

        def action():
            buffer[:n_bytes] = pinned[:n_bytes]

        stream.put("copy", action)

    def step(self):
        """Let one stream do one thing."""
        able = [stream for stream in self.streams if stream.queue and stream.queue[0][2]()]
        assert able, "every stream waits for another"
        preferred = [s for s in able if self.first is not None and s is self.streams[self.first]]
        stream = preferred[0] if preferred else able[self.rng.integers(len(able))]
        stream.queue.pop(0)[1]()

    def some_steps(self):
        for _ in range(self.rng.integers(4)):
            if any(stream.queue and stream.queue[0][2]() for stream in self.streams):
                self.step()


def read(machine, uploader, rows, pieces):
    """Go through the rows as a pass does: everything is asked for, nothing is waited for."""
    seen = {}
    for piece, here in uploader.over(rows, pieces):
        seen[piece.start] = []
        # Two readings: a pass multiplies a piece forwards, and backwards a little later.
        for _ in range(2):
            machine.work.put("read", lambda at=piece.start, here=here: seen[at].append(here.copy()))
        machine.some_steps()
    return seen


def assert_arrived(seen, rows, pieces):
    assert sorted(seen) == [piece.start for piece in pieces]
    for piece in pieces:
        assert len(seen[piece.start]) == 2
        for read_there in seen[piece.start]:
            assert read_there.dtype == rows.dtype
            np.testing.assert_array_equal(read_there, rows[piece])


def cut(n_rows, step):
    return [slice(first, min(first + step, n_rows)) for first in range(0, n_rows, step)]


@pytest.mark.parametrize("first", [None, 0, 1])  # neither, the caller's stream, the copies' stream
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("n_rows", "step"), [(11, 3), (12, 3), (2, 3), (3, 3), (5, 1), (0, 3)])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_rows_arrive(dtype, n_rows, step, order, first):
    rows = np.asarray(np.random.default_rng(0).integers(0, 99, (n_rows, 4)), dtype, order=order)
    for seed in range(20):
        machine = Machine(seed, first)
        uploader = Uploader(step * 4 * rows.itemsize, machine)
        pieces = cut(n_rows, step)
        seen = [
            read(machine, uploader, rows, pieces) for _ in range(2)
        ]  # a second pass over the same buffers
        machine.work.synchronize()
        for once in seen:
            assert_arrived(once, rows, pieces)
        assert machine.copies == 2 * len(pieces)


def test_another_stream_may_read_next():
    rows = np.arange(28, dtype=np.float64).reshape(14, 2)
    pieces = cut(14, 3)
    for seed in range(40):
        machine = Machine(seed)
        uploader = Uploader(48, machine)
        before = read(machine, uploader, rows, pieces)
        first, machine.work = machine.work, machine.stream()
        after = read(machine, uploader, rows, pieces)
        for stream in (first, machine.work):
            stream.synchronize()
        for seen in (before, after):
            assert_arrived(seen, rows, pieces)


def test_the_next_piece_is_on_its_way_while_one_is_worked_on():
    machine = Machine(0)
    uploader = Uploader(24, machine)
    rows = np.arange(12, dtype=np.float64).reshape(12, 1)
    for number, (_, _) in enumerate(uploader.over(rows, cut(12, 3))):
        # Of the copies that were asked for, none waits for the piece that is worked on now.
        assert machine.copies == min(number + 2, 4)
        machine.work.put("work", lambda: None)
        uploader._copies.synchronize()


def test_a_reader_that_gives_up_waits_for_the_copies():
    machine = Machine(0)
    uploader = Uploader(24, machine)
    rows = np.arange(12, dtype=np.float64).reshape(12, 1)
    pieces = uploader.over(rows, cut(12, 3))
    next(pieces)
    assert uploader._copies.queue
    pieces.close()
    assert not uploader._copies.queue


@pytest.mark.parametrize("forgotten", ["worked", "copied", "pinned"])
def test_each_event_is_needed(forgotten, monkeypatch):
    """The streams above would find it out if one of the three were not waited for."""
    deaf = {"worked": lambda uploader: uploader._worked, "copied": lambda uploader: uploader._copied}
    rows = np.arange(24, dtype=np.float64).reshape(12, 2)
    pieces, wrong = cut(12, 2), 0
    for seed in range(60):
        machine = Machine(seed)
        uploader = Uploader(32, machine)
        if forgotten == "pinned":
            for event in uploader._copied:
                event.synchronize = lambda: None
        else:
            for event in deaf[forgotten](uploader):
                event.record = lambda stream: None
        seen = read(machine, uploader, rows, pieces)
        machine.work.synchronize()
        wrong += any(not np.array_equal(copy, rows[piece]) for piece in pieces for copy in seen[piece.start])
    assert wrong > 0
