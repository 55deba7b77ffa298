#!/usr/bin/env bash
# ParquetFile(buffer_size=…) holds a whole row group all the same: pre_buffer, which is on by default, wins.
#
# pyarrow 26.0.1, NumPy 2.4.2, Python 3.11; Linux x86-64.
# Seen: batches of 10,000 rows of a row group of 64 MB need 66 MB of Arrow's memory with no option, with
# buffer_size=65536, and with pre_buffer=False; only both options together bring it to 4 MB.
# A guess that is wrong: that either bounds what is held. Neither refers to the other in its documentation.
#
# Prints the peak of Arrow's pool in MB for each pair of options. Fails if one alone is enough, or both are not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 numpy==2.4.2
cd "$folder"
env/bin/python - <<'CODE'
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

rng = np.random.default_rng(0)
table = pa.table({f"x{j}": rng.normal(size=1_000_000) for j in range(8)})
pq.write_table(table, "rows.parquet", row_group_size=1_000_000, compression="none", use_dictionary=False)
CODE
cat > peak.py <<'CODE'
import sys

import pyarrow as pa
import pyarrow.parquet as pq

options = {name: int(value) for name, value in (word.split("=") for word in sys.argv[1:])}
for batch in pq.ParquetFile("rows.parquet", **options).iter_batches(batch_size=10_000):
    pass
print(round(pa.default_memory_pool().max_memory() / 1e6))
CODE
peak() { ARROW_DEFAULT_MEMORY_POOL=system env/bin/python peak.py "$@"; }
none=$(peak) size=$(peak buffer_size=65536) off=$(peak pre_buffer=0) both=$(peak buffer_size=65536 pre_buffer=0)
echo "MB: no option $none, buffer_size $size, pre_buffer off $off, both $both"
[ "$none" -gt 60 ] && [ "$size" -gt 60 ] && [ "$off" -gt 60 ] && [ "$both" -lt 10 ]
