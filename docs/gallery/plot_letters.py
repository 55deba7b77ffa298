"""
Letters: many classes, few features
===================================

26 letters, drawn in the typefaces that come with matplotlib, turned and shifted, as 16 × 16 pixels. The
loss is looked at on its way to the optimum: a fit ends when its distance from it is proven to be below
``tol``.
"""

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.model_selection import train_test_split

from fastsoftmax import SoftmaxRegression, plot

matplotlib.set_loglevel("error")
FACES = [("DejaVu Sans", "normal"), ("DejaVu Sans", "bold"), ("DejaVu Serif", "normal")]
FACES += [("DejaVu Serif", "bold"), ("DejaVu Sans Mono", "normal")]
LETTERS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
rng = np.random.default_rng(0)


def sheet(face, weight):
    """Return 26 images (16, 16) of the letters of a typeface, each a little turned and moved."""
    figure = Figure(figsize=(26 * 0.16, 0.16), dpi=100)
    canvas = FigureCanvasAgg(figure)
    for place, letter in enumerate(LETTERS):
        dx, dy = rng.uniform(-0.1, 0.1, size=2)
        figure.text(
            (place + 0.5 + dx) / 26,
            0.5 + dy,
            letter,
            family=face,
            weight=weight,
            size=rng.uniform(7.5, 9.5),
            rotation=rng.normal(scale=10),
            ha="center",
            va="center_baseline",
        )
    canvas.draw()
    grey = 255 - np.asarray(canvas.buffer_rgba())[:, :, 0]
    return grey.reshape(16, 26, 16).transpose(1, 0, 2)


images = np.concatenate([sheet(*FACES[number % len(FACES)]) for number in range(200)])
X = images.reshape(len(images), -1)  # uint8
y = np.tile(LETTERS, 200)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)

# %%
model = SoftmaxRegression(C=1e-4).fit(X_train, y_train)
print(f"{model.score(X_test, y_test):.1%} right; {model.solver_}, {model.n_iter_[0]} steps")

# %%
figure = plot.loss_curve(model)

# %%
figure = plot.coefficients(model, image_shape=(16, 16))
