"""Rows that do not fit in memory: blocks of bounded size, read again and again.

A format is a file with a class that satisfies `FileBlocks` (`block.py`): it is made of paths and options
alone, so that it can be pickled, tells what its header says (`Head`), and gives `Block`s in the order of the
rows. A line in `formats.py` names it. What all formats share stands above them: several files as one
(`chain.py`), labels (`labels.py`), the first reading (`look.py`), decoded blocks on disk (`cache.py`), and
the object that callers hold (`row_set.py`). Libraries that decode a format are imported by its own file, when
it is read.
"""
