"""Kernels compiled ahead of time: wheels hold shared libraries in this folder, a checkout none.

`python -m fastsoftmax.aot` makes them; `runtime.library` reads them.
"""
