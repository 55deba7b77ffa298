"""
Images: ten digits
==================

Pixels as bytes are taken as they are: a ``uint8`` matrix is widened a tile at a time inside the kernels and
never as a whole. What the model has learnt can be looked at, because there is one coefficient a pixel and
class.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastsoftmax import SoftmaxRegression, plot

X, y = load_digits(return_X_y=True)
pixels = (X * 15).astype("uint8")
X_train, X_test, y_train, y_test = train_test_split(pixels, y, test_size=0.25, random_state=0, stratify=y)

# %%
# A byte goes up to 240, so C has to be small for coefficients of a byte to be penalised as those of [0, 1]
# would be with C = 1: 1 / 240² of it.
model = SoftmaxRegression(C=1 / 240**2).fit(X_train, y_train)
print(f"{model.score(X_test, y_test):.1%} of the held-out digits are right")
print(f"F = {model.objective_:.6f}, at most {model.duality_gap_:.1e} above the minimum")

# %%
# Red pixels speak for a class, blue ones against it.
figure = plot.coefficients(model, image_shape=(8, 8))

# %%
# What is taken for what.
figure = plot.confusion(model, X_test, y_test)
