"""How it is measured: in turn, beside the machine's limits, after a comparison with plain NumPy."""
