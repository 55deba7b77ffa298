"""What kernels compute, for Numba. Imported where the library of compiled kernels has none that fits."""
