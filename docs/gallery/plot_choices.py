"""
Choices: bike, car or train
===========================

What people chose, as probabilities or shares instead of labels: y is a matrix (n, K) whose rows are the
shares of travellers of each group who took the car, the train or the bike, and a group counts as many times
as it has travellers. Without a penalty (``C=inf``) the coefficients are maximum-likelihood estimates.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastsoftmax
from fastsoftmax import SoftmaxRegression

MODES = ["bike", "car", "train"]
rng = np.random.default_rng(0)
n_groups = 3_000
km = rng.uniform(1, 30, size=n_groups)
income = rng.normal(size=n_groups)
rain = rng.random(n_groups) < 0.3
utility = np.column_stack(
    [
        1.5 - 0.25 * km - 1.2 * rain,
        -0.5 + 0.02 * km + 0.5 * income,
        -0.8 + 0.06 * km - 0.1 * income,
    ]
)
travellers = rng.integers(5, 60, size=n_groups)
chosen = rng.multinomial(travellers, fastsoftmax.softmax(utility, axis=1))
X = np.column_stack([km, income, rain])

# %%
shares = chosen / travellers[:, None]
model = SoftmaxRegression(C=np.inf).fit(X, shares, sample_weight=travellers)
contrasts = model.coef_ - model.coef_[1]  # against the car: only differences matter
for mode, row in zip(MODES, contrasts, strict=True):
    print(f"{mode:>5} against car: km {row[0]:+.3f}, income {row[1]:+.3f}, rain {row[2]:+.3f}")

# %%
# Shares by distance, for a mean income: what the model says (lines) and what was seen (dots).
grid = np.linspace(1, 30, 100)
figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for panel, wet in zip(panels, (False, True), strict=True):
    proba = model.predict_proba(np.column_stack([grid, 0 * grid, np.full(100, wet)]))
    bins = np.digitize(km, np.arange(1, 30, 3))
    for k, colour in enumerate(("#4b8b3b", "#c1543c", "#3b6ea5")):
        panel.plot(grid, proba[:, k], color=colour, label=MODES[k])
        seen = [chosen[(bins == b) & (rain == wet), k].sum() for b in range(1, 11)]
        of = [travellers[(bins == b) & (rain == wet)].sum() for b in range(1, 11)]
        panel.plot(np.arange(2.5, 31, 3)[:10], np.divide(seen, of), "o", color=colour, markersize=4)
    panel.set(xlabel="km", title="rain" if wet else "dry")
    panel.spines[["top", "right"]].set_visible(False)
panels[0].set_ylabel("share")
panels[1].legend(frameon=False)
