"""How many threads everybody may use."""

import os

# The cores this process may use: `taskset -c 0,1` gives two to every contender alike.
THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
