"""Compiled kernels on disk, in files that say what they hold and are believed only if it is so.

Numba's own cache [1]_ goes by the file of the function alone, and a kernel contains the functions of other
files that it calls: after an upgrade it would run the old ones. It does not look at what it loads, so that a
damaged file ends the process. And two processes that compile at the same time may give one name to the code
of two signatures. Here each signature has a file of its own, sealed with a hash of its contents, of all
sources of this package and of the compiler's versions; what does not match is compiled again and replaced.

References
----------
.. [1] https://numba.readthedocs.io/en/stable/developer/caching.html
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pathlib
import pickle
import uuid
from typing import TYPE_CHECKING, Any

import llvmlite
import numba
from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

PACKAGE = pathlib.Path(__file__).parents[1]
SEAL_BYTES = hashlib.sha256().digest_size


def _hash_of_makers() -> bytes:
    """Return a hash of all that goes into machine code besides its own function."""
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.digest()


MAKERS = _hash_of_makers()  # when the sources are imported, not when the first kernel has been compiled


@functools.cache
def warn_uncached(reason: str) -> None:
    """Say once for each reason that kernels are not kept."""
    logger.warning("fastsoftmax: kernels are compiled anew in every process (%s)", reason)


class _Files:
    """What Numba calls a cache file: here one for each signature."""

    def __init__(self, folder: pathlib.Path, name: str) -> None:
        self._folder = folder
        self._name = name

    def _path(self, key: Any) -> pathlib.Path:
        signature, machine = key[:2]
        # Numba's key does not tell kernels with bounds checks from those without.
        mode = "" if numba.config.BOUNDSCHECK is None else f" {numba.config.BOUNDSCHECK}"
        short = hashlib.sha256(f"{signature} {machine}{mode}".encode()).hexdigest()[:16]
        return self._folder / f"{self._name}.{short}.kernel"

    def load(self, key: Any) -> Any:
        """Return what was saved under a key, or None if there is nothing that can be relied on."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        seal, payload = content[:SEAL_BYTES], content[SEAL_BYTES:]
        if seal != hashlib.sha256(MAKERS + payload).digest():
            return None
        found, data = pickle.loads(payload)
        return data if found == key else None

    def save(self, key: Any, data: Any) -> None:
        """Write a file whole, or not at all."""
        payload = dumps((key, data))
        path = self._path(key)
        own = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}")
        try:
            own.write_bytes(hashlib.sha256(MAKERS + payload).digest() + payload)
            own.replace(path)
        finally:
            with contextlib.suppress(OSError):
                own.unlink()

    def flush(self) -> None:
        """Remove what was saved for any signature."""
        for path in self._folder.glob(f"{self._name}.*.kernel"):
            path.unlink()


class KernelCache(FunctionCache):
    """The cache of one jitted function. RuntimeError if there is no folder that can be written to."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = _Files(pathlib.Path(self.cache_path), self._impl.filename_base)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, if the disk takes it."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            warn_uncached(os.strerror(error.errno) if error.errno else str(error))
