"""SoftmaxObjective: the public objective of arrays in memory."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypedDict

from fastsoftmax import devices, losses
from fastsoftmax.contracts import RowBlock
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import dask, moments, validation
from fastsoftmax.data.blocks.row_set import RowSet
from fastsoftmax.objective import streamed
from fastsoftmax.objective.direct import DirectObjective, passes_of
from fastsoftmax.objective.feature_units import FeatureUnits
from fastsoftmax.objective.row_space import Rotation
from fastsoftmax.penalties.squared_norm import SquaredNorm
from fastsoftmax.runtime.buffers import BufferPool
from fastsoftmax.sources.array import ArraySource
from fastsoftmax.sources.scaled import ScaledSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self, Unpack

    from numpy.typing import ArrayLike

    from fastsoftmax.contracts import MatrixLike, Vector
    from fastsoftmax.contracts.protocols import Source
    from fastsoftmax.objective.row_space import RowSpace


class Options(TypedDict, total=False):
    """The options of `SoftmaxObjective.of_rows`: those of `SoftmaxObjective` but for the rows' own.

    And `scale` (d,), positive, which divides the features: parameters are those of the scaled rows.
    """

    l2: float
    fit_intercept: bool
    label_smoothing: float
    loss: str
    device: str
    n_threads: int | None
    scale: Vector | None


class SoftmaxObjective(FeatureUnits):
    """F, ∇F and ∇²F v of (multinomial) logistic regression on a data set held in memory.

    F(W, b) = Σᵢ wᵢ ℓᵢ / Σᵢ wᵢ + (l2 / 2) ‖W‖², in nats; the intercept b is not penalised.

    Parameters
    ----------
    X : array_like or SciPy CSR/CSC, (n, d), an array on a GPU, or rows of `fastsoftmax.open_rows`
        float16, float32, float64, uint8, int8 and int16 are read as they are, in any order and with any
        strides; other integers and booleans are converted to float64. CuPy arrays, PyTorch CUDA tensors and
        any array with DLPack or `__cuda_array_interface__` are read on the GPU without a copy (bfloat16,
        too); `device` must not be "cpu". y and sample_weight may be there as well; they are checked on the
        host. Rows of `open_rows` and `rows_from` bring their labels, which count as their index in `classes`,
        and their weights.
    y : array_like, (n,) or (n, K)
        Integers in [0, K), or probabilities: rows that sum to one ("softmax"), or independent labels in
        [0, 1] ("sigmoid").
    l2 : float, default 0.0
        The strength of the penalty, at least 0.
    sample_weight : array_like (n,), optional
        Row weights, not negative. Rows of weight zero are never read.
    n_classes : int, optional
        K; by default one more than the largest label, or the number of columns of y.
    fit_intercept : bool, default True
    label_smoothing : float in [0, 1], default 0.0
        ε: a target t becomes (1 − ε) t + ε / K (with "sigmoid": + ε / 2).
    loss : {"softmax", "sigmoid"}
    device : {"cpu", "cuda", "auto"}
        "cuda" is an NVIDIA GPU: X is copied there at the first pass, and kept as long as the objective.
        "auto" is "cuda" if there is one and X is large enough for it (`fastsoftmax.devices.settled`).
    n_threads : int, optional
        None takes every processor that the process may use.
    standardize : bool, default False
        True: the penalty is on the coefficients of standardised features, (l2 / 2) Σ (σⱼ Wₖⱼ)². σ are the
        deviations of the features, by `sample_weight`; 1 of one that is constant. Parameters are those of X
        as it is, values and derivatives by them; X is not copied. Parameters on a GPU are not taken. One
        more reading of X.

    Attributes
    ----------
    n_params, n_features, n_classes : int
    l2 : float
    fit_intercept : bool
    device : {"cpu", "cuda"}
        The device that computes the sums over rows.
    passes : int
        The number of readings of X: one for each value and gradient, Hessian-vector product or
        preconditioner.

    Raises
    ------
    ValueError
        Shapes that disagree, NaN or infinity in X, labels out of range; the message names the argument.
    TypeError
        Arguments that are not numbers, or arrays on a GPU with `device` "cpu".
    DeviceUnavailable
        If the device cannot be used here.

    Notes
    -----
    Products are float32 for float32 (and narrower) X and float64 otherwise; values, gradients across tiles
    and everything outside the kernels are float64. A value and gradient reads X once and costs 4 n d K flops,
    a Hessian-vector product half as much again, or as much where the logits of its point are kept: `hessp`
    keeps those of its last point up to a limit that does not grow with n (see `hessian`).
    Results are bit for bit the same for every `n_threads`, and from run to run on one GPU. Several threads
    may call one object at the same time.

    Examples
    --------
    >>> import numpy as np, scipy.optimize
    >>> from fastsoftmax import SoftmaxObjective
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> objective = SoftmaxObjective(X, [0, 1, 2], l2=0.1)
    >>> best = scipy.optimize.minimize(
    ...     objective.value_and_grad, np.zeros(objective.n_params), jac=True,
    ...     hessp=objective.hessp, method="trust-ncg")
    >>> round(float(best.fun), 4)
    0.7074
    """

    _rotate: Callable[[], tuple[RowSpace, SoftmaxObjective]] | None = None

    def __init__(
        self,
        X: MatrixLike | RowSet,
        y: ArrayLike | None = None,
        *,
        l2: float = 0.0,
        sample_weight: ArrayLike | None = None,
        n_classes: int | None = None,
        fit_intercept: bool = True,
        label_smoothing: float = 0.0,
        loss: str = "softmax",
        device: str = "cpu",
        n_threads: int | None = None,
        standardize: bool = False,
    ) -> None:
        X, y, sample_weight = dask.taken(X, y, sample_weight)
        if isinstance(X, RowSet):
            if y is not None or sample_weight is not None:
                raise ValueError("y and sample_weight are part of the rows: give them to open_rows")
            if standardize:
                X.look(with_moments=True)
            source, the_loss, penalty = streamed.parts(
                X, l2, n_classes, label_smoothing, loss, device, n_threads
            )
            super().__init__(
                ScaledSource(source, X.moments().scale()) if standardize else source,
                the_loss,
                penalty=penalty,
                fit_intercept=fit_intercept,
                n_threads=n_threads,
            )
            self._units = self._feature_units()
            return
        rows: Any = validation.design_matrix(X)
        y, rows = devices.fetched("y", y, device, rows)
        sample_weight, rows = devices.fetched("sample_weight", sample_weight, device, rows)
        target = validation.targets(y, n_classes, loss, rows)
        weight = validation.sample_weights(sample_weight, rows.shape[0])
        if n_classes is None:
            n_classes = int(target.max()) + 1 if target.ndim == 1 else int(target.shape[1])
        self._build(
            RowBlock(rows, target, weight), n_classes, l2=l2, fit_intercept=fit_intercept,
            label_smoothing=label_smoothing, loss=loss, device=device, n_threads=n_threads,
            scale=moments.of_rows(rows, weight).scale() if standardize else None,
        )  # fmt: skip
        self._units = self._feature_units()

    @classmethod
    def of_rows(cls, rows: RowBlock, n_classes: int, **options: Unpack[Options]) -> Self:
        """Return the objective of rows that `fastsoftmax.data.validation` has checked already."""
        self = cls.__new__(cls)
        self._build(rows, n_classes, **options)
        return self

    def _build(self, rows: RowBlock, n_classes: int, **options: Unpack[Options]) -> None:
        """Initialise the objective of checked rows; ValueError for options out of range."""
        penalty = SquaredNorm().with_strength(options.get("l2", 0.0))
        label_smoothing = options.get("label_smoothing", 0.0)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1]; got {shown(label_smoothing)}")
        device = devices.settled(options.get("device", "cpu"), rows.X, int(n_classes))
        n_threads = validation.thread_count(options.get("n_threads"))
        family = losses.family(options.get("loss", "softmax"))
        loss = family.for_targets(rows.target, int(n_classes), label_smoothing=label_smoothing)
        buffers = BufferPool()
        source: Source = ArraySource(
            rows._replace(buffers=buffers), loss, int(n_classes), device=device, n_threads=n_threads
        )
        scale = options.get("scale")
        super().__init__(
            source if scale is None else ScaledSource(source, scale),
            loss,
            penalty=penalty,
            fit_intercept=options.get("fit_intercept", True),
            device=device,
            n_threads=n_threads,
            buffers=buffers,
        )

    def rotating(self, rotate: Callable[[], tuple[RowSpace, SoftmaxObjective]]) -> Self:
        """Return the same objective, which a solver may leave for that of the rows' coordinates.

        `rotate` returns the row space and the objective there; it is called when a solver asks for them.
        """
        other = self._sibling()
        other._rotate = functools.cache(rotate)
        other._join(self._rows, self._penalty)
        return other

    @property
    def rotation(self) -> Rotation | None:
        """The same objective in the row space, and the way there and back; None if there is none."""
        if self._rotate is None:
            return None
        space, objective = self._rotate()
        return Rotation(space, self, objective.with_l2(self.l2))

    @property
    def direct(self) -> DirectObjective | None:
        """The same objective for the solver of small problems; None where the problem is not small.

        Or where there is no penalty, the layout's intercepts are those of centred rows, or parameters are in
        other units than the rows. Made once.
        """
        if self._direct is None:
            passes = None
            if self._penalty.has_conjugate and self._layout.centre is None and self._units is None:
                passes = passes_of(self._rows.source, self._family, self._loss, self._n_threads)
            self._direct = (
                None if passes is None
                else DirectObjective(
                    passes, self._rows, self._layout, self._family, self._penalty, self.algebra,
                    corrected_bound=self.corrected_bound, rotates=self._rotate is not None,
                ),
            )  # fmt: skip
        return self._direct[0]
