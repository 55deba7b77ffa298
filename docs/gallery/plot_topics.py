"""
Topics of texts, in a sparse matrix
===================================

Text becomes a sparse matrix of word weights (TF-IDF) with far more columns than rows. It is read as it is,
CSR with 32- or 64-bit indices. The texts here are documentation that every installation holds: what NumPy's
and SciPy's functions say of themselves. To be found is the subpackage that a function belongs to.
"""

import importlib
import re

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split

from fastsoftmax import SoftmaxRegression

TOPICS = ["numpy.fft", "numpy.linalg", "numpy.ma", "numpy.random", "scipy.integrate", "scipy.interpolate"]
TOPICS += ["scipy.ndimage", "scipy.optimize", "scipy.signal", "scipy.sparse", "scipy.special", "scipy.stats"]


def documentation(topic):
    """Return the docstrings of a package's public names, without what would give the answer away."""
    package = importlib.import_module(topic)
    members = [getattr(package, name) for name in dir(package) if not name.startswith("_")]
    texts = {str(member.__doc__) for member in members if callable(member) and member.__doc__}
    hidden = re.compile(rf"{topic.rpartition('.')[2]}|numpy|scipy|np\.\S*", re.IGNORECASE)
    return sorted(hidden.sub(" ", text) for text in texts)


texts = {topic: documentation(topic) for topic in TOPICS}
corpus = [text for topic in TOPICS for text in texts[topic]]
labels = np.repeat(TOPICS, [len(texts[topic]) for topic in TOPICS])
read, unread, y_read, y_unread = train_test_split(
    corpus, labels, test_size=0.3, random_state=0, stratify=labels
)

# %%
# Rows of TF-IDF have length one, so the penalty has to be weak: C = 10.
words = TfidfVectorizer(sublinear_tf=True)
X_read, X_unread = words.fit_transform(read), words.transform(unread)
model = SoftmaxRegression(C=10).fit(X_read, y_read)
print(f"{X_read.shape[0]} texts, {X_read.shape[1]} words, {X_read.nnz} entries; {model.n_iter_[0]} steps")
print(f"right: {model.score(X_unread, y_unread):.1%}")
likeliest, _ = model.predict_top_k(X_unread, 3)
print(f"among the three likeliest: {np.mean((likeliest == y_unread[:, None]).any(axis=1)):.1%}")

# %%
# The words that speak most for each topic, by their coefficients.
vocabulary = words.get_feature_names_out()
figure, panels = plt.subplots(3, 4, figsize=(11, 7), layout="constrained")
for panel, topic, coef in zip(panels.flat, model.classes_, model.coef_, strict=True):
    best = np.argsort(coef)[-7:]
    panel.barh(vocabulary[best], coef[best], color="#3b6ea5")
    panel.set_title(topic, fontsize=10)
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
