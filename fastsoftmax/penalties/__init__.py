"""Penalties, which an objective adds to the mean loss: one a file (`contracts.protocols.Penalty`)."""
