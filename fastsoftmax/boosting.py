"""Softmax objectives and metrics for XGBoost, LightGBM and CatBoost."""

from fastsoftmax.backends.boosting import (
    catboost_metric,
    catboost_objective,
    lightgbm_metric,
    lightgbm_objective,
    xgboost_metric,
    xgboost_objective,
)

__all__ = [
    "catboost_metric",
    "catboost_objective",
    "lightgbm_metric",
    "lightgbm_objective",
    "xgboost_metric",
    "xgboost_objective",
]
