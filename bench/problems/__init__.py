"""What is measured: named problems with fixed seeds, and which of them the grid runs."""
