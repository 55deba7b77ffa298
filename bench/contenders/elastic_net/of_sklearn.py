"""scikit-learn's saga, with more and more epochs."""

import time

from sklearn.linear_model import LogisticRegression

FIRST, GROWTH, SPARE = 8, 2.0, 0.95


def points(X, y, options):
    """Give fits from the start, of twice the epochs each; the last as many as there is time for."""

    def fit(n_epochs, X, y):
        model = LogisticRegression(
            C=options["C"], l1_ratio=options["l1_ratio"], solver="saga", tol=1e-14, max_iter=n_epochs,
            random_state=0,
        )  # fmt: skip
        start = time.process_time()
        model.fit(X, y)
        return time.process_time() - start, model

    fit(1, X[:200], y[:200])
    n_epochs = FIRST
    while True:
        seconds, model = fit(n_epochs, X, y)
        yield seconds, model.coef_, model.intercept_
        affordable = int(SPARE * n_epochs * options["limit"] / seconds)
        if affordable <= n_epochs:
            return
        n_epochs = min(int(GROWTH * n_epochs), affordable)
