"""Coverage-guided fuzzing of everything that reads files, with atheris (`pip install atheris`; Linux, macOS).

    python -m tests.fuzz.by_coverage -max_total_time=600

tries inputs that reach new lines of the readers, from the files that `tests/fuzz/test_files.py` starts with,
until the time is up or one is neither read nor refused in one line; that one is then written to a file. The
options are libFuzzer's.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from pathlib import Path

import atheris

from fastsoftmax import SoftmaxRegression
from fastsoftmax.data import readers, sparse
from fastsoftmax.data.readers import (
    columns,
    comma_separated,
    dialect,
    embedded,
    frame,
    header,
    index_columns,
    npy,
    npz,
    parquet,
    svmlight,
    table,
    text_labels,
)
from fastsoftmax.estimator import saving
from fastsoftmax.persistence import container
from tests.fuzz.anything import outcome
from tests.fuzz.test_files import RAN, WHOLE, X, Y

FORMATS = (comma_separated, embedded, frame, npy, npz, parquet, svmlight, table)
PARTS = (columns, dialect, header, index_columns, text_labels)
# Function by function: `instrument_imports` would rewrite what Numba compiles as well.
for module in (readers, *FORMATS, *PARTS, container, saving, sparse):
    for found in vars(module).values():
        if inspect.isfunction(found) and found.__module__ == module.__name__:
            atheris.instrument_func(found)

SUFFIXES = [*sorted(WHOLE), ".safetensors"]  # the first byte of an input says which


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        model = folder / "model.safetensors"
        SoftmaxRegression().fit(X, Y).save(model)
        for number, suffix in enumerate(SUFFIXES):
            for i, whole in enumerate(WHOLE.get(suffix) or [model.read_bytes()]):
                (corpus / f"{number}-{i}").write_bytes(bytes([number]) + whole)

        def one(data: bytes) -> None:
            if not data:
                return
            suffix = SUFFIXES[data[0] % len(SUFFIXES)]
            path = folder / f"input{suffix}"
            path.write_bytes(data[1:])
            read = SoftmaxRegression.load if suffix == ".safetensors" else readers.read
            _, refusal = outcome(lambda: read(str(path)))
            assert refusal is None or "\n" not in str(refusal), refusal
            assert not RAN

        atheris.Setup([*sys.argv, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
