"""What a certificate costs: when a fit of ours is at its tolerance, and when it has shown it and ends.

A fit is at its tolerance where F is within tol of the best F known, which the fit itself cannot see. It ends
where its own bound says so. What lies between the two is the price of not having to trust it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastsoftmax.contracts import Record

TOL = 1e-6  # the default of the estimator


def certificate(records: Sequence[tuple[float, Record]], best: float, *, ended: bool) -> dict[str, Any]:
    """Say of a watched fit when it was there and when it was certified.

    Parameters
    ----------
    records : sequence of (seconds, Record)
        The history of a fit with tolerance `TOL`, and the time of each step.
    best : float
        The least F that anybody knows.
    ended : bool
        Whether the fit ended by itself; otherwise its time was up.

    Returns
    -------
    certificate : dict
        `there`, `end`: [seconds, passes], or None where a fit never was there, or did not end. `certified`:
        whether the bound at its end is within the tolerance. `ratio`: [of seconds, of passes], those of the
        last step divided by those of being there, so at least so much where the time was up; None where a
        fit never was there. `gap`: the bound at the last step, relative to F.
    """
    there = next(([s, r.passes] for s, r in records if r.objective <= best * (1 + TOL)), None)
    last_seconds, last = records[-1]
    end = [last_seconds, last.passes] if ended else None
    ratio = [last_seconds / there[0], last.passes / max(there[1], 1)] if there else None
    gap = None if last.gap is None else last.gap / last.objective
    certified = ended and gap is not None and gap <= TOL
    return {"there": there, "end": end, "certified": certified, "ratio": ratio, "gap": gap}


def doubts(name: str, found: dict[str, Any]) -> list[str]:
    """Say that a fit ended without a certificate; one whose time was up may have none."""
    if found["end"] is None or found["certified"]:
        return []
    return [f"{name}: ended without a certificate of {TOL:g}; its gap is {found['gap']} of F"]
