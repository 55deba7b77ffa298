"""
Fault codes from sensors
========================

Columns in different units (degrees, bars, revolutions) make a penalty unfair: a coefficient per pascal is a
hundred thousand times smaller than one per bar. ``standardize=True`` penalises the coefficients of
standardised columns, copies nothing, and gives coefficients for the columns as they are. Faults are rare,
and ``class_weight="balanced"`` gives each class the same say.
"""

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from fastsoftmax import SoftmaxRegression, plot

rng = np.random.default_rng(0)
CODES = np.array(["normal", "bearing", "leak", "overload", "sensor"])
y = rng.choice(5, size=20_000, p=[0.9, 0.04, 0.03, 0.02, 0.01])

# A machine at work: what it is asked for moves all of its sensors together.
load = rng.normal(size=y.size)
temperature = 60 + 5 * load + rng.normal(size=y.size) + 6 * (y == 1) + 3 * (y == 3)  # °C
pressure = 1e5 * (2 + 0.2 * load + 0.05 * rng.normal(size=y.size) - 0.3 * (y == 2))  # Pa
speed = 1_500 - 20 * load + 10 * rng.normal(size=y.size) - 60 * (y == 3)  # revolutions a minute
vibration = 0.02 * np.exp(0.3 * rng.normal(size=y.size) + 1.2 * (y == 1))  # mm
current = 8 + 2 * load + 0.3 * rng.normal(size=y.size) + 3 * (y == 3) - 5 * (y == 4) * rng.random(y.size)  # A
X = np.column_stack([temperature, pressure, speed, vibration, current])
train, test = slice(0, 15_000), slice(15_000, None)

# %%
# With the columns as they are the same C penalises the small units' coefficients away.
for standardize in (False, True):
    model = SoftmaxRegression(standardize=standardize, class_weight="balanced").fit(X[train], CODES[y[train]])
    score = balanced_accuracy_score(CODES[y[test]], model.predict(X[test]))
    print(f"standardize={standardize}: {score:.1%} of each class in the mean")

# %%
# What is taken for what, by class.
figure = plot.confusion(model, X[test], CODES[y[test]])

# %%
# Whether probabilities can be believed: of the alarms at 80 %, 80 % should be faults. Balanced weights move
# them on purpose.
figure = plot.reliability(model, X[test], CODES[y[test]])
