"""Fit with Spark: `python -P spark_fit.py FOLDER`, in an environment with pyspark and pyarrow; needs Java.

FOLDER has rows.parquet (features, a list of numbers, and label) and options.json; coefficients of each number
of iterations are written there, and the seconds printed as JSON lines. It imports nothing of this package.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.functions import array_to_vector
from pyspark.sql import SparkSession


def main(folder: Path) -> None:
    """Fit once in a few iterations, which starts what there is to start, then as often as asked for."""
    options = json.loads((folder / "options.json").read_text())
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.driver.memory", "6g")
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    rows = spark.read.parquet(str(folder / "rows.parquet"))
    rows = rows.select(array_to_vector("features").alias("features"), "label").repartition(2).cache()
    n_rows = rows.count()
    given = {
        "family": "multinomial",
        "regParam": 1 / (n_rows * options["C"]),
        "elasticNetParam": 0.0,
        "standardization": False,
        "tol": 0.0,
    }
    for max_iter in (3, *options["iterations"]):
        start = time.perf_counter()
        model = LogisticRegression(maxIter=max_iter, **given).fit(rows)
        seconds = time.perf_counter() - start
        coef, intercept = model.coefficientMatrix.toArray(), model.interceptVector.toArray()
        np.savez(folder / f"{max_iter}.npz", coef=coef, intercept=intercept)
        print(json.dumps({"iterations": max_iter, "seconds": seconds}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
