"""Compiled kernels on disk, in files that say what they hold and are believed only if it is so.

Numba's own cache [1]_ goes by the file of the function alone, and a kernel contains the functions of other
files that it calls: after an upgrade it would run the old ones. It does not look at what it loads, so that
a damaged file ends the process. And two processes that compile at the same time may give one name to the
code of two signatures. Here each signature has a file of its own, sealed with a hash of its contents, of
the sources that go into it and of the compiler's versions (`runtime.seals`); what does not match is
compiled again and replaced. Nor does Numba tell apart what was compiled under other settings: each of these
has files of its own.

References
----------
.. [1] https://numba.readthedocs.io/en/stable/developer/caching.html
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import logging
import pathlib
import pickle
import sys
import uuid
from typing import TYPE_CHECKING, Any

import numba

from fastsoftmax.runtime import compiling
from fastsoftmax.runtime.numba_internals import FunctionCache, dumps, named_tuple_class
from fastsoftmax.runtime.seals import SOURCES
from fastsoftmax.runtime.width import width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

logger = logging.getLogger(__name__)

SEAL_BYTES = hashlib.sha256().digest_size
# Numba's settings that change the code and not the key that Numba files it under; so do the tiles' shapes.
SETTINGS = ("OPT", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "USING_SVML")


@functools.cache
def warn_uncached(reason: str) -> None:
    """Say once for each reason that kernels are not kept."""
    compiling.not_kept()
    logger.warning("fastsoftmax: kernels are compiled anew in every process (%s)", reason)


def _named_tuple_classes(kinds: Iterable[Any]) -> Iterator[type]:
    """Yield the classes of the named tuples among Numba types, and within them."""
    for kind in kinds:
        found = named_tuple_class(kind)
        if found is not None:
            yield found
        yield from _named_tuple_classes(getattr(kind, "types", ()))


def _plain(key: Any) -> Any:
    """Return a key with the types of the arguments alone.

    A function that is compiled for its address comes with the type of its result, too: it is the same code.
    """
    return getattr(key[0], "args", key[0]), *key[1:]


class _Files:
    """What Numba calls a cache file: here one for each signature.

    Parameters
    ----------
    folder : Path
    name : str
        What the files' names begin with.
    seal : bytes
        That of the kernel's module.
    """

    def __init__(self, folder: pathlib.Path, name: str, seal: bytes) -> None:
        self._folder = folder
        self._name = name
        self._own_seal = seal

    def _path(self, key: Any) -> pathlib.Path:
        settings = [f"{name}={getattr(numba.config, name)!r}" for name in SETTINGS] + [str(width())]
        short = hashlib.sha256(f"{key[0]} {key[1]} {settings}".encode()).hexdigest()[:16]
        return self._folder / f"{self._name}.{short}.kernel"

    def _seal(self, key: Any, payload: bytes) -> bytes:
        """Return the hash that a file begins with. OSError if the source of an argument's type is not found.

        A kernel need not import the modules of its named-tuple arguments; but their sources (the order of
        fields, the row functions of a loss outside this package) are compiled into it all the same.
        """
        digest = hashlib.sha256(self._own_seal)
        for found in _named_tuple_classes(key[0]):
            file = getattr(sys.modules.get(found.__module__), "__file__", None)
            if file is None:
                raise FileNotFoundError(
                    errno.ENOENT, f"{found.__module__}.{found.__name__} has no source file"
                )
            digest.update(SOURCES.seal(file))
        digest.update(payload)
        return digest.digest()

    def load(self, key: Any) -> Any:
        """Return what was saved under a key, or None if there is nothing that can be relied on."""
        key = _plain(key)
        try:
            content = self._path(key).read_bytes()
            seal, payload = content[:SEAL_BYTES], content[SEAL_BYTES:]
            expected = self._seal(key, payload)
        except OSError:
            return None
        if seal != expected:
            return None
        found, data = pickle.loads(payload)
        if found != key:
            return None
        compiling.loaded()
        return data

    def save(self, key: Any, data: Any) -> None:
        """Write a file whole, or not at all."""
        key = _plain(key)
        payload = dumps((key, data))
        seal = self._seal(key, payload)
        path = self._path(key)
        own = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}")
        try:
            own.write_bytes(seal + payload)
            own.replace(path)
        finally:
            with contextlib.suppress(OSError):
                own.unlink()

    def flush(self) -> None:
        """Remove what was saved for any signature."""
        for path in self._folder.glob(f"{self._name}.*.kernel"):
            path.unlink()


class KernelCache(FunctionCache):
    """The cache of one jitted function.

    RuntimeError if there is no folder that can be written to, OSError if sources cannot be read.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        seal = SOURCES.seal(function.__code__.co_filename)
        self._cache_file = _Files(pathlib.Path(self.cache_path), self._impl.filename_base, seal)

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled function, if the disk takes it."""
        try:
            super().save_overload(sig, data)
        except OSError as error:
            warn_uncached(error.strerror or str(error))
