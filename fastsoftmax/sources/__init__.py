"""Sources of rows: in memory (`array`), from files (`stream`), on Dask's workers (`dask`).

A source answers a query for its row blocks and adds the answers, all of them in one order (`pairwise`).
"""
