"""Softmax objectives and metrics for XGBoost, LightGBM and CatBoost."""
