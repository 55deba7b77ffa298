"""Other packages' own calls of LogisticRegression and LogisticRegressionCV, with theirs and with ours.

    python -m tests.hosts [NAME …]

Outside CI: each host is a package that is installed by hand; one that is not there is left out, with a word.
"""
