"""Doors for other libraries: their protocols over the functions and models of this package.

Each folder or file imports its library, so nothing here is imported before it is asked for.
"""
