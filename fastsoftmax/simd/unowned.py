"""Views without an owner of a kernel's temporary arrays.

Numba counts the references to an array's memory: a row of a matrix that is handed on costs two atomic
additions, some twenty cycles each, and a row function is handed a dozen. A view without an owner has none to
count. Arguments of kernels mostly have no owner (a library's blocks and a `prange` bring none); arrays that a
kernel allocates do.
"""

from __future__ import annotations

import numba
from numba import types
from numba.extending import intrinsic


@intrinsic
def unowned(typingctx, array):
    """Return the same array, which does not keep its memory: its owner must be held (`hold`) for longer."""
    if not isinstance(array, types.Array):
        return None

    def codegen(context, builder, signature, arguments):
        view = context.make_array(array)(context, builder, arguments[0])
        view.meminfo = view.meminfo.type(None)
        view.parent = view.parent.type(None)
        return view._getvalue()

    return array(array), codegen


@intrinsic
def hold(typingctx, array):
    """Do nothing: an array's memory lives at least until here."""
    return types.void(array), lambda context, *_: context.get_dummy_value()


if numba.config.DISABLE_JIT:  # an intrinsic has no Python body: kernels run as plain Python need one

    def unowned(array):  # noqa: D103
        return array

    def hold(array):  # noqa: D103
        return None
