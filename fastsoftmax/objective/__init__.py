"""The penalised objective of rows: sums over rows, divided, penalised and flattened once."""

from fastsoftmax.objective.objective import SoftmaxObjective
from fastsoftmax.objective.source_objective import SourceObjective

__all__ = ["SoftmaxObjective", "SourceObjective"]
