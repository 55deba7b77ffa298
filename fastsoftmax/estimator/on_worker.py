"""A fit in a task of Dask: what it holds besides the rows is in the memory of a worker, not of the client."""

from __future__ import annotations

import threading
import traceback
import warnings
from typing import TYPE_CHECKING, Any, TypeVar

from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import dask as dask_rows
from fastsoftmax.data.blocks.row_set import RowSet
from fastsoftmax.estimator.streamed import refuse_labels_beside

if TYPE_CHECKING:
    Estimator = TypeVar("Estimator")

# Warnings are recorded by a list of the process's: one fit at a time, as memory has it.
_one_fit = threading.Lock()


def fit_on_worker(estimator: Estimator, X: Any, y: Any = None, sample_weight: Any = None) -> Estimator:
    """Fit an estimator to Dask's rows in a task: a worker holds what a fit takes, and this process the model.

    Parameters
    ----------
    estimator : SoftmaxRegression or SoftmaxRegressionCV
        Its callbacks are called on the worker, as copies, and `checkpoint` is a file there; both can be
        pickled. `verbose` shows its line there.
    X, y, sample_weight
        As `on_workers` takes them, or its rows, for which a client computes. Rows of `on_workers` that have
        been read here already are made once more, by the tasks that they are made by.

    Returns
    -------
    estimator
        The same object, fitted. Its attributes have the bits of `estimator.fit(X, y, sample_weight)` if the
        worker has the same kernels.

    Raises
    ------
    ValueError
        No client computes.
    TypeError
        The rows are not Dask's.

    Warns
    -----
    UserWarning
        What the fit warns of, and with it what other tasks of that process warn of meanwhile: Python has one
        list of warnings for all threads.

    Notes
    -----
    The task takes no thread of the worker from others; some 40 vectors of parameters and a quarter of
    `memory` are held there. If its worker is lost, it begins again on another, or from the checkpoint
    where that worker sees it; the fit ends with an error if that happens four times (Dask's setting
    `distributed.scheduler.allowed-failures`). After Ctrl-C, or when this process is gone, the fit ends before
    its next reading.

    Examples
    --------
    >>> from fastsoftmax import SoftmaxRegression, fit_on_worker, on_workers, open_rows
    >>> rows = on_workers(open_rows("rows/*.parquet", target="label"))  # doctest: +SKIP
    >>> model = fit_on_worker(SoftmaxRegression(), rows)  # doctest: +SKIP
    """
    if isinstance(X, RowSet):
        refuse_labels_beside(y, sample_weight)
        rows = X
    else:
        rows = dask_rows.on_workers(X, y, sample_weight)
    if not hasattr(rows.supply, "engine"):
        raise TypeError(f"rows of a task are those of on_workers; got {shown(X)}")
    client = getattr(rows.supply.engine, "client", None)
    if client is None:
        raise ValueError("a fit in a task takes a client: make a distributed.Client before the rows")
    from fastsoftmax.data.dask.alignment import Packed  # Dask is there, since the rows are its
    from fastsoftmax.data.dask.engine import token

    of_fit = f"fit-{type(estimator).__name__}-{token()}"
    future = client.submit(_fitted, Packed.of((estimator, rows)), key=of_fit, pure=False)
    try:
        attributes, said = future.result().value()
    finally:
        future.release()
    settings = estimator.get_params(deep=False)  # type: ignore[attr-defined]
    state = {name: value for name, value in vars(estimator).items() if name in settings}
    vars(estimator).clear()
    vars(estimator).update(attributes | state)
    for category, text in said:
        warnings.warn(text, category, stacklevel=2)
    return estimator


def _fitted(packed: Any) -> Any:
    """Return the attributes of the fitted estimator and the warnings. Runs on a worker."""
    from fastsoftmax.data.dask.host import LetGoError

    try:
        return _fitted_here(packed)
    except LetGoError:
        return None  # nobody waits for it
    except BaseException as error:
        # The worker keeps the error, and the frames of its traceback the futures of the blocks.
        each: BaseException | None = error
        while each is not None:
            traceback.clear_frames(each.__traceback__)
            each = each.__cause__ or each.__context__
        raise


def _fitted_here(packed: Any) -> Any:
    from distributed import worker_client

    from fastsoftmax.data.dask.alignment import Packed

    with worker_client(), _one_fit, warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        estimator, rows = packed.value()
        estimator.fit(rows)
    return Packed.of((vars(estimator), [(each.category, str(each.message)) for each in recorded]))
