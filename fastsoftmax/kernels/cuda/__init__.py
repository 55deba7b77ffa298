"""The GPU: rows of logits in fused Numba kernels, products with X through CuPy."""
