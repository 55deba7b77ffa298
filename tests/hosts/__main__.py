"""A table of seconds and scores of each host, its own class and ours in turn."""

from __future__ import annotations

import importlib
import statistics
import sys
import time
import warnings

REPEATS = 3
HOSTS = (
    "causalml_propensity",
    "imodels_rules",
    "scanpy_logreg",
    "celltypist_train",
    "cleanlab_learning",
    "nilearn_decoder",
    "dino_probe",
    "setfit_head",
    "autogluon_linear",
)


def measured(host) -> dict[str, tuple[float, dict[str, float]]]:
    """Return the median of the seconds, and the last scores, with the host's own class and with ours."""
    seconds, scores = {"theirs": [], "ours": []}, {}
    data = host.data()
    for _ in range(REPEATS):
        for name, kind in (("theirs", None), ("ours", host.OURS)):
            with host.in_place(kind):
                start = time.perf_counter()
                fitted = host.fit(*data[:2])
                seconds[name].append(time.perf_counter() - start)
            scores[name] = host.scores(fitted, *data[2:])
    return {name: (statistics.median(seconds[name]), scores[name]) for name in seconds}


def main(names: list[str]) -> None:
    """Print the table."""
    warnings.simplefilter("ignore")  # of parameters that scikit-learn deprecated, and of saga's steps
    for name in names or HOSTS:
        try:
            host = importlib.import_module(f"tests.hosts.{name}")
        except ModuleNotFoundError as error:
            print(f"{name}: left out, {error.name} is not installed")
            continue
        print(f"{name}: {host.CALL}")
        for whose, (median, scores) in measured(host).items():
            said = "  ".join(f"{key} {value:.5g}" for key, value in scores.items())
            print(f"  {whose:6}  {median:9.3f} s  {said}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
