"""The command `warmup`: kernels compiled before they are needed, in several processes."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import numpy as np
import typer

from fastsoftmax import devices, losses
from fastsoftmax.cli.console import says_failures
from fastsoftmax.contracts import Csr, RowBlock
from fastsoftmax.runtime import compile_ahead, library


class Dtype(StrEnum):
    """The dtypes of products with X."""

    float32 = "float32"
    float64 = "float64"


class Loss(StrEnum):
    """The losses of fits."""

    softmax = "softmax"
    sigmoid = "sigmoid"


def planned(dtype: str, loss: str, *, sparse: bool) -> list[tuple[str, str, str]]:
    """Return the kernels of a fit and of predictions: module, name and signature of each."""
    family = losses.family(loss)
    target = np.zeros(3, np.int64) if family.TAKES_LABELS else np.zeros((3, 1), dtype)
    X = np.zeros((3, 2), dtype)
    entries, starts = np.zeros(2, np.int32), np.zeros(4, np.int32)
    rows = Csr(np.zeros(2, dtype), entries, starts, (3, 2)) if sparse else X
    block = RowBlock(rows, target, np.ones(3))
    host = devices.host()
    known = family.for_targets(target, 2 if family.TAKES_LABELS else 1)
    return [*host.fit_plan(known, block), *host.predict_plan(known, rows)]


@says_failures
def warmup(
    dtype: Annotated[
        Dtype, typer.Option(help="Of products with X; integers and float16 are float32.")
    ] = Dtype.float64,
    sparse: Annotated[bool, typer.Option("--sparse", help="Of CSR rows, not of dense ones.")] = False,
    loss: Annotated[Loss, typer.Option(help="Two classes are a sigmoid, too.")] = Loss.softmax,
    processes: Annotated[int | None, typer.Option(help="How many compile at once.", min=1)] = None,
) -> None:
    """Compile what a fit and its predictions need, so that the first does not wait.

    Kernels are kept on disk, once for all processes. Where they came with the package, nothing is done.
    """
    if library.is_in_use():
        info = library.kernels_info()
        typer.echo(f"{info.n_kernels} kernels came with the package, for {info.level}: nothing to compile")
        return
    plan = planned(dtype, loss, sparse=sparse)
    began = time.perf_counter()
    n_processes = processes or compile_ahead.limit()
    for _ in compile_ahead.compile_all(plan, n_processes):
        pass
    seconds = time.perf_counter() - began
    typer.echo(f"{len(plan)} kernels in {seconds:.1f} s, {n_processes} at once")
