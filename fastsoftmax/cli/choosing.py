"""The choice of C and l1_ratio by cross-validation for the command `fit`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import typer

if TYPE_CHECKING:
    from fastsoftmax.cli.data_sets import DataSet
    from fastsoftmax.cli.options import Selection
    from fastsoftmax.estimator import SoftmaxRegression
    from fastsoftmax.estimator.cross_validation import SoftmaxRegressionCV


class Choosing(NamedTuple):
    """What is chosen by cross-validation, if anything: the number of folds is None then."""

    C: float | None
    l1_ratios: list[float] | None
    n_folds: int | None
    selection: Selection | None
    scoring: str | None

    def check(self, checkpoint: str | None, max_seconds: float | None) -> None:
        """Raise BadParameter for options that do not go together."""
        if self.n_folds is None:
            if len(self.l1_ratios or ()) > 1:
                raise typer.BadParameter("several values of --l1-ratio go with --cv")
            for name, value in (("--selection", self.selection), ("--scoring", self.scoring)):
                if value is not None:
                    raise typer.BadParameter(f"{name} goes with --cv")
            return
        if self.C is not None:
            raise typer.BadParameter("--C and --cv exclude each other: --cv chooses C")
        if checkpoint is not None:
            raise typer.BadParameter("--checkpoint and --cv exclude each other")
        if max_seconds is not None:
            raise typer.BadParameter("--max-seconds and --cv exclude each other")
        if self.scoring is not None:
            from sklearn.metrics import get_scorer_names

            if self.scoring not in get_scorer_names():
                raise typer.BadParameter(f"--scoring {self.scoring!r} is none of scikit-learn's scores")

    @property
    def strength(self) -> float:
        """C of a model where nothing is chosen."""
        return 1.0 if self.C is None else self.C

    @property
    def l1_ratio(self) -> float:
        """The l1_ratio of a model where nothing is chosen."""
        return self.l1_ratios[0] if self.l1_ratios else 0.0


def chosen(choosing: Choosing, model: SoftmaxRegression, table: DataSet) -> SoftmaxRegressionCV:
    """Return a cross-validation with a model's options, fitted. On a terminal a line shows how far it is.

    Raises ValueError for rows that are read by blocks.
    """
    from fastsoftmax.estimator.cross_validation import OF_FITS, SoftmaxRegressionCV

    if table.rows is not None:
        raise ValueError("--cv takes rows in memory: these are read by blocks")
    X, y, weight = table.given
    scoring = choosing.scoring or ("neg_log_loss" if np.ndim(y) == 1 else "accuracy")
    options: dict[str, Any] = {name: getattr(model, name) for name in OF_FITS}
    validated = SoftmaxRegressionCV(
        **options | {"verbose": int(sys.stderr.isatty())},
        l1_ratios=choosing.l1_ratios or [0.0],
        cv=choosing.n_folds,
        scoring=scoring,
        selection="best" if choosing.selection is None else choosing.selection.value,
        n_threads=model.n_threads,
        use_legacy_attributes=False,
    )
    return validated.fit(X, y, sample_weight=weight)


def report(validated: SoftmaxRegressionCV | None) -> dict[str, Any]:
    """Return what a cross-validation found, in the names of the JSON output; None for each without one."""
    names = "cv_folds", "cv_scoring", "cv_score", "cv_score_standard_error"
    if validated is None:
        return dict.fromkeys(names)
    from fastsoftmax.estimator.cv_results import standard_error

    scores = validated.scores_
    place = (
        int(np.flatnonzero(validated.l1_ratios_ == validated.l1_ratio_)[0]),
        int(np.flatnonzero(validated.Cs_ == validated.C_)[0]),
    )
    found = len(scores), validated.scoring, scores.mean(axis=0)[place], standard_error(scores)[place]
    return dict(zip(names, found, strict=True))
