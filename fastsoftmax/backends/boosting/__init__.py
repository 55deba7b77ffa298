"""Softmax objectives and metrics for XGBoost, LightGBM and CatBoost."""

from fastsoftmax.backends.boosting.catboost import catboost_metric, catboost_objective
from fastsoftmax.backends.boosting.lightgbm import lightgbm_metric, lightgbm_objective
from fastsoftmax.backends.boosting.xgboost import xgboost_metric, xgboost_objective

__all__ = [
    "catboost_metric",
    "catboost_objective",
    "lightgbm_metric",
    "lightgbm_objective",
    "xgboost_metric",
    "xgboost_objective",
]
