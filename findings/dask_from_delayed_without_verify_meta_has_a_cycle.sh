#!/usr/bin/env bash
# A Dask frame of delayed literals, made with verify_meta=False, cannot be turned into an array by a client.
#
# dask 2026.8.0, distributed 2026.8.0, pandas 3.0.1, Python 3.11; Linux x86-64. 2025.3.0 and 2026.3.0 are no different.
# Seen: `from_delayed(parts, meta=..., verify_meta=False).to_dask_array(lengths=True).compute()` ends with "Cycle
# detected" or, by other ways to an array, "cancelled for reason: lost dependencies"; with verify_meta=True, or
# without a client, it gives the array.
# A guess that is wrong: that to skip a check changes nothing but the check. Where a part is a delayed call of a
# frame itself, a literal, the optimised graph has a key that depends on itself, and only the scheduler of a
# client looks.
#
# Prints: checked: 6 rows, unchecked: fails. Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
    "dask[array,dataframe]==2026.8.0" distributed==2026.8.0 pandas==3.0.1
cat > "$folder/cycle.py" <<'CODE'
import dask
import dask.dataframe as dd
import pandas as pd
from distributed import Client, LocalCluster


def itself(part):
    return part


def rows(verify_meta):
    frame = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "b": 1.0})
    make = dask.delayed(itself, pure=False)
    parts = [make(frame.iloc[start : start + 2]) for start in (0, 2, 4)]
    there = dd.from_delayed(parts, meta=frame.iloc[:0], verify_meta=verify_meta)[["a"]]
    try:
        return f"{len(there.to_dask_array(lengths=True).compute())} rows"
    except Exception:
        return "fails"


if __name__ == "__main__":
    cluster = LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", silence_logs=50
    )
    with cluster, Client(cluster):
        print(f"checked: {rows(True)}, unchecked: {rows(False)}")
CODE
said=$(cd "$folder" && "$folder/env/bin/python" cycle.py 2>/dev/null)
echo "$said"
[ "$said" = "checked: 6 rows, unchecked: fails" ]
