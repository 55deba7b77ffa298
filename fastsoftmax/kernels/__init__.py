"""Compiled loops: serial kernels over a range of rows, and the executor that runs them."""
