"""What a mixture does with its experts, and how well it predicts."""

from gatewise.diagnostics.evaluation import BINS, Details, Evaluation, Tally, evaluate

__all__ = ["BINS", "Details", "Evaluation", "Tally", "evaluate"]
