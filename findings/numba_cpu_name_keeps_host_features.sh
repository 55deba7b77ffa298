#!/usr/bin/env bash
# Numba 0.68.1: NUMBA_CPU_NAME names a processor, and code for it still uses what the host's processor has.
#
# Expected: with NUMBA_CPU_NAME=x86-64-v2, a level without AVX, compiled code runs on any x86-64-v2 machine; so one
# tries there what an old processor would do, or fills a cache for a cluster of them.
# Seen: registers of AVX (ymm or zmm). The host's features are added to the named processor's, unless
# NUMBA_CPU_FEATURES is set as well; it may be empty. Only the name "generic" empties them by itself.
# Valid input: Numba's documentation lists NUMBA_CPU_NAME as an override of the CPU name, and NUMBA_CPU_FEATURES as one
# of its features, each by itself. To be run on an x86-64 machine with AVX. Fails if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check numba==0.68.1 llvmlite==0.50.0 numpy==2.4.6
cat > "$folder/add.py" <<'PYTHON'
import numba

@numba.njit("void(float64[::1], float64[::1])")
def add(x, y):
    for i in range(x.shape[0]):
        y[i] += x[i]

(text,) = add.inspect_asm().values()
print("AVX" if "ymm" in text or "zmm" in text else "no AVX")
PYTHON
run() { env -u NUMBA_CPU_NAME -u NUMBA_CPU_FEATURES "$@" "$folder/venv/bin/python" "$folder/add.py"; }
host=$(run)
named=$(run NUMBA_CPU_NAME=x86-64-v2)
emptied=$(run NUMBA_CPU_NAME=x86-64-v2 NUMBA_CPU_FEATURES=)
echo "host: $host; NUMBA_CPU_NAME=x86-64-v2: $named; with NUMBA_CPU_FEATURES empty: $emptied"
# Seen: host: AVX; NUMBA_CPU_NAME=x86-64-v2: AVX; with NUMBA_CPU_FEATURES empty: no AVX
[ "$host" = AVX ] || { echo "this machine has no AVX: nothing can be said"; exit 2; }
[ "$named" = AVX ] && [ "$emptied" = "no AVX" ]
