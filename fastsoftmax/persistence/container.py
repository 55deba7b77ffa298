"""Model files: named arrays and a JSON header in one file, in the safetensors format.

Nothing is pickled: an untrusted model file can hold wrong numbers, but it cannot run code. A checksum covers
the header and the arrays, so that a flipped bit is reported and never becomes a silently different model.
Files are replaced whole or not at all, here and (through `replacing`) by all other writers of results.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastsoftmax import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fastsoftmax.contracts import Array

FORMAT = "fastsoftmax"
FORMAT_VERSION = 1
# The dtype kinds that JSON round-trips exactly: boolean, signed and unsigned integer, float, text.
_CLASS_KINDS = "biufU"
MAX_LABEL_BYTES = 2**20  # a label: a hostile file may name any width, which every label would take


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary file that replaces `path` when the block ends, and is deleted if the block fails.

    Parameters
    ----------
    path : str or path-like
        The file to write. Its folder must exist. A symbolic link is followed, not replaced.

    Yields
    ------
    file : binary file object
        A temporary file in the same folder (a rename is atomic only within one file system), made with
        the permissions that an ordinary `open` would give.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    ValueError
        `path` is there and is not a regular file (a folder, a device).
    OSError
        The folder cannot be written to, or the disk is full.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as file:
    ...     written = file.write(b"all of it")
    >>> [each.name for each in folder.iterdir()]
    ['a.txt']
    """
    final = check_writable(path)
    temporary = final.with_name(f".{final.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Return the real path of a file to be written, after checking that it can be.

    Called before long work, so that a mistyped folder is reported at once and not after the fit.

    Parameters
    ----------
    path : str or path-like
        The file to write.

    Returns
    -------
    path : pathlib.Path
        With symbolic links resolved.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    ValueError
        `path` is there and is not a regular file.
    PermissionError
        The folder cannot be written to.

    Examples
    --------
    >>> check_writable("model.safetensors").name
    'model.safetensors'
    """
    final = Path(path).resolve()
    if not final.parent.is_dir():
        raise FileNotFoundError(f"cannot write {str(path)!r}: there is no folder {str(final.parent)!r}")
    if final.exists() and not final.is_file():
        raise ValueError(f"cannot write {str(path)!r}: it is there and is not a regular file")
    if not os.access(final.parent, os.W_OK):
        raise PermissionError(f"cannot write {str(path)!r}: no permission in {str(final.parent)!r}")
    return final


def save(path: str | os.PathLike[str], arrays: Mapping[str, Array], header: Mapping[str, Any]) -> None:
    """Write a model file, whole or not at all.

    Parameters
    ----------
    path : str or path-like
        The file; any name will do. One that is there already is replaced.
    arrays : mapping of str to ndarray
        Booleans, integers and floats of any shape and memory order. They are not written to.
    header : mapping of str to JSON values
        Everything else of the model. Non-finite floats are allowed. The key "written_by" is added: the
        versions of fastsoftmax, NumPy and Python.

    Raises
    ------
    TypeError
        An array or a header value of a kind that the file cannot hold.
    FileNotFoundError, ValueError, OSError
        As `replacing`.

    Notes
    -----
    Extra memory: two copies of the arrays.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save(path, {"coef_": np.eye(2)}, {"classes": encode_classes(np.array(["no", "yes"]))})
    >>> arrays, header = load(path)
    >>> arrays["coef_"].tolist(), decode_classes(header["classes"]).tolist()
    ([[1.0, 0.0], [0.0, 1.0]], ['no', 'yes'])
    """
    from safetensors.numpy import save as to_bytes

    for name, array in arrays.items():
        if np.asarray(array).dtype.kind not in "biuf" or np.asarray(array).dtype.itemsize > 8:
            raise TypeError(f"array {name!r} has dtype {np.asarray(array).dtype}; a model file takes numbers")
    # safetensors writes the raw memory and ignores strides and byte order: arrays must be native, C-ordered.
    plain = {
        name: np.asarray(array, dtype=np.asarray(array).dtype.newbyteorder("="), order="C")
        for name, array in arrays.items()
    }
    versions = {"fastsoftmax": __version__, "numpy": np.__version__, "python": platform.python_version()}
    text = json.dumps({**header, "written_by": versions})
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "header": text,
        "sha256": _digest(plain, text),
    }
    with replacing(path) as file:
        file.write(to_bytes(plain, metadata=metadata))


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return the arrays and the header of a model file.

    Parameters
    ----------
    path : str or path-like
        A file written by `save`.

    Returns
    -------
    arrays : dict of str to ndarray
        Bit for bit as saved, C order.
    header : dict
        As saved, with the key "written_by".

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is truncated or damaged, was not written by fastsoftmax, or by a newer format version.

    Examples
    --------
    >>> import os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> save(path, {"intercept_": np.zeros(3)}, {"C": 1.0})
    >>> load(path)[1]["C"]
    1.0
    """
    from safetensors import SafetensorError, safe_open

    name = os.fspath(path)
    if not Path(path).exists():
        raise FileNotFoundError(f"model file {name!r} does not exist")
    if not Path(path).is_file():
        raise ValueError(f"{name!r} is not a regular file; a model file is one file")
    try:
        with safe_open(name, framework="np") as file:
            metadata = file.metadata() or {}
            _check_format(name, metadata)
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (not a mapping)
    except (SafetensorError, TypeError, AttributeError) as error:  # the last two: dtypes that NumPy lacks
        reason = " ".join(str(error).split())
        raise ValueError(f"{name!r} is not a fastsoftmax model file, or is damaged ({reason})") from error
    text = metadata.get("header", "")
    if metadata.get("sha256") != _digest(arrays, text):
        raise ValueError(f"model file {name!r} is damaged: its check sum does not fit its contents")
    try:
        return arrays, json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"model file {name!r} is damaged: its header is no JSON ({error})") from error


def encode_classes(classes: Array) -> dict[str, Any]:
    """Return class labels as JSON values with their dtype, which `decode_classes` restores exactly.

    Parameters
    ----------
    classes : ndarray (K,)
        Booleans, integers, finite floats or strings (fixed width, `StringDType`, or objects that are all
        `str`, as pandas gives them).

    Returns
    -------
    encoded : dict
        {"dtype": ..., "values": [...]}, for the header of a model file.

    Raises
    ------
    TypeError
        Labels of another kind.

    Examples
    --------
    >>> encode_classes(np.array(["cat", "dog"]))
    {'dtype': '<U3', 'values': ['cat', 'dog']}
    """
    classes = np.asarray(classes)
    values = classes.tolist()
    kind = classes.dtype.kind
    if kind in "OT" and all(isinstance(value, str) for value in values):
        return {"dtype": "object" if kind == "O" else "StringDType", "values": values}
    if kind not in _CLASS_KINDS or (classes.dtype.itemsize > 8 and kind == "f"):
        raise TypeError(f"class labels of dtype {classes.dtype} cannot be saved; numbers and strings can")
    return {"dtype": classes.dtype.newbyteorder("<").str, "values": values}


def decode_classes(encoded: Mapping[str, Any]) -> Array:
    """Return the class labels of the result of `encode_classes`.

    Parameters
    ----------
    encoded : mapping
        {"dtype": ..., "values": [...]}.

    Returns
    -------
    classes : ndarray (K,)
        The same values in the same dtype (native byte order).

    Raises
    ------
    ValueError
        Not what `encode_classes` gives.

    Examples
    --------
    >>> decode_classes({"dtype": "|b1", "values": [False, True]})
    array([False,  True])
    """
    try:
        name, values = encoded["dtype"], encoded["values"]
        if name == "StringDType":
            return np.array(values, dtype=np.dtypes.StringDType())
        dtype = np.dtype(name)
        text = dtype.kind == "O" and all(isinstance(value, str) for value in values)
        if not text and (dtype.kind not in _CLASS_KINDS or dtype.itemsize > MAX_LABEL_BYTES):
            raise ValueError(f"dtype {name!r}")
        return np.array(values, dtype=dtype.newbyteorder("="))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"class labels in a model file cannot be read: {error}") from error


def _check_format(name: str, metadata: Mapping[str, str]) -> None:
    """Raise ValueError unless the file is of this package and of a version that it reads."""
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{name!r} is a safetensors file, but was not written by fastsoftmax")
    version = metadata.get("format_version", "")
    if not (version.isdecimal() and len(version) < 10) or int(version) < 1:
        raise ValueError(f"model file {name!r} is damaged: its format version is {version[:20]!r}")
    if int(version) > FORMAT_VERSION:
        raise ValueError(
            f"model file {name!r} has format version {version}, this fastsoftmax reads up to "
            f"{FORMAT_VERSION}: upgrade fastsoftmax"
        )


def _digest(arrays: Mapping[str, Array], text: str) -> str:
    """Return the SHA-256 of the header and of every array's name, dtype, shape and bytes."""
    digest = hashlib.sha256(f"{FORMAT_VERSION}\n{text}".encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes() if array.size == 0 else np.ascontiguousarray(array).data)
    return digest.hexdigest()
