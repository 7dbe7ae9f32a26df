"""What a mixture does with its experts, and how well it predicts."""

from gatewise.diagnostics.evaluation import Details, Evaluation, Tally, evaluate

__all__ = ["Details", "Evaluation", "Tally", "evaluate"]
