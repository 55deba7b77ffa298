"""From a fitted estimator and rows to an `Inference`: arguments checked, sums over rows, covariance."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import xlogy
from sklearn.exceptions import ConvergenceWarning

from fastsoftmax import losses
from fastsoftmax.contracts import DeviceArray, RowBlock
from fastsoftmax.contracts.wording import shown
from fastsoftmax.data import statistics
from fastsoftmax.estimator import covariances, hyperparameters, information, offsets
from fastsoftmax.estimator import labels as label_reader
from fastsoftmax.estimator.fitting import features_of
from fastsoftmax.estimator.inference import Inference
from fastsoftmax.estimator.information import Fitted, Penalty
from fastsoftmax.estimator.null_model import null_beside_offset
from fastsoftmax.estimator.packed_covariance import variances_alone
from fastsoftmax.estimator.sparse_fitting import penalty_weights

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastsoftmax.contracts import Array, MatrixLike, Rows, Vector

KINDS = ("observed", "robust", "cluster")
COVARIANCES = ("full", "diagonal")
# Coefficients further than this from the maximum, in standard errors, are said to be: it is seen in a z of 2.
FAR = 0.05


def infer(
    model: Any,
    X: MatrixLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    kind: str,
    groups: ArrayLike | None,
    base: Any,
    covariance: str,
    offset: ArrayLike | None,
) -> Inference:
    """Return the inference of a fitted model; `Statistics.inference` describes it."""
    if covariance not in COVARIANCES:
        raise ValueError(
            f"covariance must be one of {', '.join(map(repr, COVARIANCES))}; got {shown(covariance)}"
        )
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}; got {shown(kind)}")
    if (kind == "cluster") != (groups is not None):
        raise ValueError("groups go with kind='cluster', one for each row, and only with it")
    fitted = _fitted(model, X, y, sample_weight, base)
    if model._with_offset and offset is None:
        raise ValueError("the model was fitted with an offset: give that of these rows")
    if offset is not None:
        n_outputs = len(fitted.params.intercept)
        fitted = replace(fitted, offset=offsets.checked(offset, fitted.rows.n_rows, n_outputs))
    classes, base, sign = _sides(model, fitted, base)
    terms = _terms(model, fitted.constant)
    named = [f"{term} of class {shown(label)}" for label in classes for term in terms]
    codes = None if groups is None else _codes(groups, fitted.rows.weight)
    whole = covariance == "full"
    covariances.check_size(fitted, kind, whole)
    sums = fitted.sums(kind != "observed", codes)
    doubtful = information.hardly_known(sums) if fitted.penalty.is_none else np.array([], int)
    factor = _factor(fitted, codes, len(named))

    def depends() -> str | None:
        return information.dependent_columns(fitted, terms)

    if covariances.is_packed(fitted, whole):
        result = variances_alone(fitted, sums, named, depends, factor)
    else:
        result = covariances.whole_of(fitted, sums, named, depends, factor, whole)
    found = Inference(
        fitted, cov_type=kind, classes=classes, base=base, all_classes=_of_effects(model, fitted, classes),
        terms=terms, sign=sign, covariance=result, loglik=sums.loglik, loglik_null=_loglik_null(fitted),
        note=_note(fitted, kind, codes),
    )  # fmt: skip
    _warn(found, [named[i] for i in doubtful.tolist()], model.tol)
    return found


def _fitted(model: Any, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None, base: Any) -> Fitted:
    """Return the likelihood of checked rows at the model's coefficients."""
    model._check_is_fitted()
    if model._one_vs_rest:
        raise ValueError(
            "models of one class against the rest have no common likelihood: fit with "
            "multi_class='multinomial', or loss='sigmoid' and a matrix of 0 and 1"
        )
    settings = hyperparameters.settle(model)
    if settings.l1_ratio > 0.0:
        raise ValueError(
            "there are no standard errors under absolute values (l1_ratio above 0): fit the features that "
            "they chose again with C=inf, on other rows"
        )
    rows, y, sample_weight = model._given(X, y, sample_weight, reset=False)
    if isinstance(rows, DeviceArray):
        raise TypeError("inference reads rows in the host's memory; bring X there")
    labels = label_reader.read(y, rows, model.loss, classes=model.classes_)
    params = model._params(rows)
    if labels.n_outputs != len(params.intercept):
        raise ValueError(f"y is of {labels.n_outputs} logits; the model has {len(params.intercept)}")
    weight = label_reader.weights(y, sample_weight, model.class_weight)
    family = losses.family(labels.loss)
    n_outputs = labels.n_outputs
    kept = np.arange(n_outputs)
    if family.SHIFT_INVARIANT:
        kept = np.delete(kept, 0 if base is None else _place(base, model.classes_))
    fitted = Fitted(
        RowBlock(rows, labels.target, weight), family.for_targets(labels.target, n_outputs), family, params,
        kept, bool(model.fit_intercept), None,
        _penalty(model, settings, rows, label_reader.weights(y, sample_weight, None), n_outputs),
        model.n_threads,
    )  # fmt: skip
    _refuse_unobserved(fitted, model.classes_)
    if not fitted.constant or fitted.penalty.intercept:
        return fitted
    return replace(fitted, centre=statistics.centre_of(rows))


def _penalty(model: Any, settings: Any, rows: Rows, weight: Vector, n_outputs: int) -> Penalty:
    """Return the curvatures of the penalty of a fit with these settings, beside Σ wᵢ ℓᵢ."""
    factors = penalty_weights(model.penalty_weights, n_outputs, rows.shape[1], False) / settings.C
    if np.inf > settings.C:
        features = features_of(model, rows, [weight])
        factors = factors if features is None else factors / features[0, 0] ** 2
    scaling = settings.intercept_scaling
    return Penalty(factors, 0.0 if scaling is None else 1.0 / (settings.C * scaling**2))


def _place(base: Any, classes: Array) -> int:
    """Return the place of the base among the classes. Raises ValueError."""
    found = np.flatnonzero(classes == base)
    if len(found) != 1:
        raise ValueError(f"base must be one of the classes {shown(classes)}; got {shown(base)}")
    return int(found[0])


def _sides(model: Any, fitted: Fitted, base: Any) -> tuple[Array, Any, float]:
    """Return the labels of the parameters' rows, the base, and the sign of the model's coefficients."""
    classes = model.classes_
    if model._is_binary():
        place = 0 if base is None else _place(base, classes)
        return classes[[1 - place]], classes[place], 1.0 - 2.0 * place
    if fitted.exclusive:
        rest = np.setdiff1d(np.arange(len(classes)), fitted.kept)
        return classes[fitted.kept], classes[rest[0]], 1.0
    if base is not None:
        raise ValueError("independent labels (loss='sigmoid') have no base")
    return classes, None, 1.0


def _of_effects(model: Any, fitted: Fitted, classes: Array) -> Array:
    """Return the labels of the rows of marginal effects."""
    every: Array = model.classes_ if fitted.exclusive else classes
    return every


def _terms(model: Any, constant: bool) -> list[str]:
    """Return the names of the columns of the linear predictor."""
    names = getattr(model, "feature_names_in_", None)
    features = [f"x{j}" for j in range(model.n_features_in_)] if names is None else [str(n) for n in names]
    return ["const", *features] if constant else features


def _codes(groups: ArrayLike, weight: Vector) -> NDArray[np.intp]:
    """Return the number of each row's group. Raises ValueError for another length or a single group."""
    labels = np.asarray(groups)
    if labels.shape != weight.shape:
        raise ValueError(f"groups must be ({len(weight)},), one for each row; got shape {labels.shape}")
    codes: NDArray[np.intp] = np.unique(labels, return_inverse=True)[1]
    if len(np.unique(codes[weight > 0.0])) < 2:
        raise ValueError("groups holds one group only; a covariance by groups takes many")
    return codes


def _factor(fitted: Fitted, codes: NDArray[np.intp] | None, n_params: int) -> float:
    """Return the small-sample factor: 1 of rows; G/(G − 1) · (n − 1)/(n − p) of G groups, as statsmodels."""
    if codes is None:
        return 1.0
    counted = fitted.rows.weight > 0.0
    n_rows, n_groups = int(counted.sum()), len(np.unique(codes[counted]))
    if n_rows <= n_params:
        raise ValueError(
            f"a covariance by groups takes more rows than the {n_params} parameters; got {n_rows}"
        )
    return n_groups / (n_groups - 1.0) * (n_rows - 1.0) / (n_rows - n_params)


def _totals(fitted: Fitted) -> Vector:
    """Return Σ wᵢ tᵢ of each class, (K,)."""
    return fitted.family.weighted_target_sum(fitted.loss, fitted.rows.target, fitted.rows.weight)


def _refuse_unobserved(fitted: Fitted, classes: Array) -> None:
    """Raise ValueError if a class has no row, or all of them: its constant has no finite maximum."""
    totals, weight = _totals(fitted), fitted.total_weight
    never = totals <= 0.0
    always = (totals >= weight) & (not fitted.exclusive)
    if not (never | always).any():
        return
    if len(totals) == 1:
        raise ValueError("all rows of a positive weight are of one class: there is nothing to infer")
    said = covariances.listed([shown(label) for label in classes[never | always]])
    raise ValueError(f"class {said}: no row has it, or all rows do; leave it out of the model")


def _loglik_null(fitted: Fitted) -> float:
    """Return the log-likelihood of the best constants, with the offset if there is one."""
    if fitted.offset is not None:
        return null_beside_offset(fitted)
    totals, weight = _totals(fitted), fitted.total_weight
    if fitted.exclusive:
        return float(xlogy(totals, totals / weight).sum())
    rest = weight - totals
    return float((xlogy(totals, totals / weight) + xlogy(rest, rest / weight)).sum())


def _note(fitted: Fitted, kind: str, codes: NDArray[np.intp] | None) -> str:
    """Return what the covariance is, in a sentence."""
    inverse = "the inverse of the Hessian"
    if not fitted.penalty.is_none:
        inverse += " with the penalty (estimates are biased towards zero; intervals do not know of it)"
    if kind == "observed":
        return f"Covariance: {inverse}."
    of = "rows (HC0)" if codes is None else f"{len(np.unique(codes))} groups"
    return f"Covariance: a sandwich of scores of {of} between {inverse}."


def _warn(found: Inference, doubtful: list[str], tol: float) -> None:
    """Warn of parameters that nothing tells of, and of a fit that ended early."""
    if doubtful:
        warnings.warn(
            f"{covariances.listed(doubtful)}: less than a hundredth of a row tells of it. Classes that these "
            "columns separate have no finite estimate: their standard errors mean nothing. Give a finite C",
            UserWarning,
            stacklevel=4,
        )
    elif found.distance > FAR:
        advice = tol * min(0.1, (FAR / found.distance) ** 2)
        warnings.warn(
            f"the coefficients are {found.distance:.2g} standard errors from the maximum: fit with "
            f"tol={advice:.0e}",
            ConvergenceWarning,
            stacklevel=4,
        )
