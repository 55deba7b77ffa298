"""What kernels on long vectors and factors compute, for Numba."""
