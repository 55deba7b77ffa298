"""Methods that take an objective to its minimum. They see an `Objective` and nothing else."""
