"""Approximate inverses of a Hessian, one form a file: functions from `Params` to `Params`.

They know what the Hessian of a linear model with a row loss looks like, not how it was summed.
"""
