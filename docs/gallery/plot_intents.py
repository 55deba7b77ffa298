"""
Intents of short texts
======================

A dialogue system has to tell what is wanted from a few words, and many intents are much alike. Here requests
are made from phrases, with letters left out of most; to be found is which of twelve things is asked for. What
is like nothing that has been seen has its probability spread, and is better asked back.
"""

import itertools

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split

from fastsoftmax import SoftmaxRegression

THINGS = {
    "alarm": ["an alarm", "my alarm", "the wake-up call"],
    "meeting": ["a meeting", "my appointment", "the call with the team"],
    "taxi": ["a taxi", "my cab", "a ride to the station"],
    "table": ["a table for two", "my reservation", "a place at the restaurant"],
}
ACTIONS = {
    "make": ["please book", "I would like to have", "set up", "can you arrange", "get me"],
    "cancel": ["please cancel", "I no longer need", "call off", "can you delete", "drop"],
    "move": ["please move", "I want to postpone", "shift", "can you delay", "put off"],
}
WHEN = [
    "",
    "at seven",
    "tomorrow",
    "on Monday morning",
    "tonight",
    "in an hour",
    "as soon as possible",
    "at noon",
]
rng = np.random.default_rng(0)
texts, intents = [], []
for (thing, names), (action, verbs) in itertools.product(THINGS.items(), ACTIONS.items()):
    for name, verb, when in itertools.product(names, verbs, WHEN):
        letters = list(f"{verb} {name} {when}".strip())
        for _ in range(rng.integers(0, 5)):  # letters left out
            del letters[rng.integers(len(letters))]
        texts.append("".join(letters))
        intents.append(f"{action} {thing}")
read, unread, y_read, y_unread = train_test_split(texts, intents, test_size=0.5, random_state=0)
print("\n".join(f"{intent:15} {text}" for text, intent in zip(read[:5], y_read[:5], strict=True)))

# %%
# Parts of words are robust against slips. Short texts want a weak penalty; ``SoftmaxRegressionCV`` would
# choose it.
parts = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
X_read, X_unread = parts.fit_transform(read), parts.transform(unread)
model = SoftmaxRegression(C=30).fit(X_read, y_read)
print(f"{X_read.shape[1]} parts of words; right: {model.score(X_unread, y_unread):.1%}")

# %%
# Which intents are taken for which, and how sure the model is of requests that it was made for and of others.
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
found = model.predict(X_unread)
table = np.array(
    [[np.mean(found[np.array(y_unread) == a] == b) for b in model.classes_] for a in model.classes_]
)
picture = left.imshow(table, cmap="Blues", vmin=0, vmax=1)
left.set_xticks(range(12), model.classes_, rotation=60, ha="right", fontsize=8)
left.set_yticks(range(12), model.classes_, fontsize=8)
left.set(xlabel="predicted", ylabel="asked for")
figure.colorbar(picture, ax=left, shrink=0.8, label="part of the requests")
others = [
    "what is the weather like",
    "play some music",
    "tell me a joke",
    "how tall is the tower",
    "good night",
]
bins = np.linspace(0, 1, 21)
right.hist(
    model.predict_proba(X_unread).max(axis=1), bins, density=True, color="#3b6ea5", label="such requests"
)
for i, (text, sure) in enumerate(
    zip(others, model.predict_proba(parts.transform(others)).max(axis=1), strict=True)
):
    right.axvline(sure, color="#c1543c", label="others" if i == 0 else None)
    right.text(
        sure, 0.2 + 0.09 * i, f" {text}", transform=right.get_xaxis_transform(), fontsize=8, color="#c1543c"
    )
right.set(xlabel="probability of the likeliest intent", ylabel="density of requests")
right.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.0, 0.98))
right.spines[["top", "right"]].set_visible(False)
