"""The objective with absolute values of rows in memory, whose columns it copies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastsoftmax.contracts import Csr, State
from fastsoftmax.data.feature_columns import columns_of, n_entries
from fastsoftmax.linalg.coordinate_descent import Blocks
from fastsoftmax.objective.class_blocks import MAX_BLOCKS, ClassBlocks, lift
from fastsoftmax.objective.elastic_net import ElasticNetObjective
from fastsoftmax.objective.objective import Options, SoftmaxObjective

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from fastsoftmax.contracts import Centre, RowBlock, Vector
    from fastsoftmax.penalties.elastic_net import ElasticNet

# Products with sparse rows are cheap beside their Gram matrix, whose entries are gathered one by one: 20
# newsgroups at C = 1 take half the time with 192 in place of 512. Dense columns that depend on each other
# nearly are worth a matrix, which conjugate gradients need hundreds of products for (tep_faults).
DENSE_ORDER, SPARSE_ORDER = 1280, 192
# Blocks of sparse rows may have so many entries for each product of an entry of X and a class: sweeps over
# larger ones take longer than the passes they save (AG News, K = 4, C = 10, α = 1: 2,721 coefficients).
SPARSE_PART = 0.25
# Half of the features or more are taken as all of them: their copy would save little.
MOST = 0.5


class SparseObjective(ElasticNetObjective):
    """F of rows in memory with an elastic-net penalty, for solvers that take a proximal map.

    Parameters
    ----------
    rows : RowBlock
        Checked rows, of a host's storage.
    n_outputs : int
    penalty : ElasticNet
    centre : Centre, optional
        As `SourceObjective.centred` takes it.
    features : ndarray (2, d), optional
        1 / scale and the mean of each feature: vectors are those of scaled and centred rows, and so is the
        penalty. There is no `centre` then.
    options
        Of `SoftmaxObjective.of_rows`, without a penalty.

    Notes
    -----
    Rows are read as they are, by float64 products.
    """

    def __init__(
        self,
        rows: RowBlock,
        n_outputs: int,
        penalty: ElasticNet,
        *,
        centre: Centre | None = None,
        features: Vector | None = None,
        options: Options | None = None,
    ) -> None:
        self._given = rows, n_outputs, centre, features, options or Options()
        of_loss: Options = {**self._given[4], "scale": None if features is None else 1.0 / features[0]}
        loss: Any = SoftmaxObjective.of_rows(rows, n_outputs, **of_loss)
        loss = loss.in_float64() or loss
        if features is not None and features[1].any():
            loss = loss.centred_at(features[1])
        super().__init__(loss if centre is None else loss.centred(centre), penalty)
        self._part: tuple[SparseObjective, float] | None = None
        self._part_passes = 0.0

    def with_l2(self, strength: float) -> Self:
        """Return the same objective with another strength of its penalty; passes start from 0."""
        self.carried = {} if self.carried is None else self.carried
        self.carried["growth"] = self.penalty.strength / strength
        other = super().with_l2(strength)
        other._part, other._part_passes = None, 0.0
        return other

    @property
    def passes(self) -> int:
        """The readings of X so far; those of some columns count for these columns' part of the entries."""
        return super().passes + math.ceil(self._all_parts - 1e-9)

    @property
    def _all_parts(self) -> float:
        """The readings of some columns, as parts of all entries."""
        return self._part_passes + (0.0 if self._part is None else self._part[1] * self._part[0].passes)

    def kept(self) -> State:
        """Return what has been learnt of the rows beside a point, and the readings of parts of them."""
        known = super().kept()
        return State({"part_passes": self._all_parts}, known.arrays)

    def restore(self, state: State) -> None:
        """Take what `kept` returned in another process."""
        super().restore(state)
        since = self._all_parts - self._part_passes  # those of a part that is there already do not count
        self._part_passes = state.numbers["part_passes"] - since

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self._given[0].n_rows

    @property
    def reduced_order(self) -> int:
        """For how many parameters `reduced_hessian` is worth its cost."""
        return SPARSE_ORDER if isinstance(self._given[0].X, Csr) else DENSE_ORDER

    @property
    def has_class_blocks(self) -> bool:
        """Whether `class_blocks` are worth their cost: with absolute values of single coefficients.

        Not of so few parameters of sparse rows that one matrix has them all: 600 × 30, K = 4, took 31 passes
        in place of 9.
        """
        is_small = isinstance(self._given[0].X, Csr) and self.size <= SPARSE_ORDER
        return not (self.penalty.grouped or is_small)

    def class_blocks(self, x: Vector, places: NDArray[np.intp]) -> tuple[NDArray[np.intp], Blocks]:
        """Return the smooth part's Hessian among some parameters, less what two classes have together.

        The places by class, and the blocks of these; all intercepts are among them. Where the blocks were
        large, the diagonal. One pass over X.
        """
        coefs = places[places < self._n_coef]
        classes, features = np.divmod(coefs, self.n_features)
        mean = self._loss.row_centre
        query = ClassBlocks(self.unpack(x), classes, features, self.fit_intercept, mean)
        X = self._given[0].X
        most = (
            min(MAX_BLOCKS, SPARSE_PART * len(X.data) * self.n_classes) if isinstance(X, Csr) else MAX_BLOCKS
        )
        if query.n_entries > most:
            diagonal = self.diagonal(x)[places]
            lift(diagonal)
            return places, Blocks(np.arange(len(places) + 1), diagonal)
        blocks = query.blocks(self._loss.sum_over_rows(query), self.penalty.curvature.ravel()[coefs])
        if not self.fit_intercept:
            return coefs, blocks
        ends = np.searchsorted(classes, np.arange(self.n_classes), side="right")
        return np.insert(coefs, ends, np.arange(self._n_coef, self.size)), blocks

    def of_features(self, features: NDArray[np.intp]) -> SparseObjective | None:
        """Return the objective of some features alone, or None if they are most, or none. Copies columns."""
        if len(features) == 0 or len(features) >= MOST * self.n_features:
            return None
        self._part_passes = self._all_parts
        rows, n_outputs, centre, scaling, options = self._given
        X = columns_of(rows.X, features)
        if centre is not None:
            columns = np.flatnonzero(np.isin(features, centre.columns))
            centre = centre._replace(mean=centre.mean[features], variance=centre.variance[features],
                                     columns=columns)  # fmt: skip
            centre = centre if len(columns) else None
        part = SparseObjective(
            rows._replace(X=X),
            n_outputs,
            self.penalty.of_features(features),
            centre=centre,
            features=None if scaling is None else scaling[:, features],
            options=options,
        )
        self._part = part, n_entries(X) / max(n_entries(rows.X), 1)
        return part
