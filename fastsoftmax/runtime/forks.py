"""Hooks around a fork: the one place where this package asks the system for them.

A forked child has the memory of its parent and one thread. A lock that another thread held stays locked in
it for ever, a pool of threads has none, and GNU OpenMP ends the child at its first parallel loop. The
package's docstring (`fastsoftmax.runtime`) lists the registered hooks.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def at_fork(
    *,
    before: Callable[[], object] | None = None,
    in_parent: Callable[[], object] | None = None,
    in_child: Callable[[], object] | None = None,
) -> None:
    """Register functions that every fork of this process calls from now on.

    Parameters
    ----------
    before : callable, optional
        Called in the thread that forks, before it does. Those registered last are called first.
    in_parent, in_child : callable, optional
        Called after the fork in each process, in the order of registration.

    Notes
    -----
    Nothing is done where the system has no forks. A hook cannot be taken back, so modules register at import.
    """
    hooks = {"before": before, "after_in_parent": in_parent, "after_in_child": in_child}
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**{when: hook for when, hook in hooks.items() if hook is not None})
