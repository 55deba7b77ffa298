"""
An objective for boosted trees
==============================

XGBoost takes labels; shares, smoothed labels and row weights of one's own it does not take by itself. The
objective here gives it gradient and curvature of the softmax cross-entropy for all of them, in its own order,
and trees of the built-in objective where both can be used.
"""

import matplotlib.pyplot as plt
import numpy as np
import xgboost

from fastsoftmax import cross_entropy
from fastsoftmax.boosting import xgboost_metric, xgboost_objective

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, size=(4_000, 2)).astype(np.float32)
angle, radius = np.arctan2(X[:, 1], X[:, 0]), np.hypot(X[:, 0], X[:, 1])
kind = ((angle + 3 * radius) // (2 * np.pi / 3)).astype(int) % 3  # three arms of a spiral
y = np.where(rng.random(4_000) < 0.25, rng.integers(0, 3, 4_000), kind)  # a sixth of the labels is wrong
rows, unread = xgboost.DMatrix(X[:2_000], label=y[:2_000]), xgboost.DMatrix(X[2_000:], label=y[2_000:])
options = {
    "num_class": 3,
    "base_score": 0.5,
    "max_depth": 4,
    "eta": 0.3,
    "objective": "multi:softprob",
    "nthread": 2,
    "disable_default_eval_metric": 1,
}


def trained(smoothing):
    """Return a booster, and its losses on the rows that it has not read."""
    record = {}
    booster = xgboost.train(
        options, rows, 80, obj=xgboost_objective(label_smoothing=smoothing), custom_metric=xgboost_metric(),
        evals=[(unread, "unread")], evals_result=record, verbose_eval=False,
    )  # fmt: skip
    return booster, next(iter(record["unread"].values()))


# %%
# Wrong labels make trees sure of what is not so; smoothed labels hold them back.
runs = {smoothing: trained(smoothing) for smoothing in (0.0, 0.1, 0.3)}
for smoothing, (booster, _) in runs.items():
    scores = booster.predict(unread, output_margin=True)
    right = np.mean(scores.argmax(axis=1) == kind[2_000:])
    print(f"smoothing {smoothing}: loss {cross_entropy(scores, y[2_000:]):.3f}, the true arm in {right:.1%}")

# %%
# The loss of rows that were not read, by round, and what the trees say of the plane.
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for (smoothing, (_, losses)), colour in zip(runs.items(), ("#c1543c", "#4b8b3b", "#3b6ea5"), strict=True):
    left.plot(losses, color=colour, label=f"smoothing {smoothing:g}")
left.set(xlabel="round", ylabel="cross-entropy of unread rows")
left.legend(frameon=False)
left.spines[["top", "right"]].set_visible(False)
axis = np.linspace(-1, 1, 200)
grid = np.column_stack([part.ravel() for part in np.meshgrid(axis, axis)])
proba = runs[0.1][0].predict(xgboost.DMatrix(grid)).reshape(200, 200, 3)
right.imshow(proba, origin="lower", extent=(-1, 1, -1, 1))
right.set(title="probabilities as red, green and blue", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
