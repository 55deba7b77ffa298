"""Law: a write that is killed at any moment leaves the old file or the new one, whole.

FASTSOFTMAX_KILLS (default 5) is how many writes are killed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from fastsoftmax.persistence import container

KILLS = int(os.environ.get("FASTSOFTMAX_KILLS", "5"))
# Writes one model after the other, and says so when there is one.
WRITER = """
    import sys
    import numpy as np
    from fastsoftmax.persistence import container
    i = 0
    while True:
        i += 1
        container.save(sys.argv[1], {"a": np.full(300_000, float(i))}, {"i": i})
        if i == 1:
            print("begun", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_killed_writes(tmp_path):
    path = tmp_path / "model"
    container.save(path, {"a": np.zeros(3)}, {"i": 0})
    rng = random.Random(0)
    seen = set()
    for _ in range(KILLS):
        command = [sys.executable, "-c", textwrap.dedent(WRITER), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"begun\n"
            time.sleep(rng.uniform(0.0, 0.05))
            process.kill()
        arrays, header = container.load(path)
        assert np.all(arrays["a"] == header["i"])
        seen.add(header["i"])
    assert {name.name for name in tmp_path.iterdir() if not name.name.endswith(".tmp")} == {"model"}
    assert min(seen) > 0, "nothing was ever written"
