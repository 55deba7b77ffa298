"""Makes the library of compiled kernels that wheels hold: `python -m fastsoftmax.aot`.

Numba types, lowers and optimises each function of the manifest as it does at run time, for a processor level
instead of the host (`objects`). An entry of its own reads the arguments from a block of memory, so that
neither Python nor Numba's runtime is in what comes out: C's allocation and mathematics are all that it calls.
The objects are linked into one shared library a level, beside the extension module that calls them (`link`).
"""
