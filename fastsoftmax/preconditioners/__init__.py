"""Approximate inverses of a Hessian, one form a module: functions that change `Params` in place.

They use the structure of the Hessian of a linear model with a row loss, not how it was summed.
"""
