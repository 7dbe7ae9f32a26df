"""Accumulators over batches: how well a mixture predicts, and what its gate does."""

from gatewise.metrics.classification import BINS, Details, Evaluation, Tally, evaluate, evaluate_batches, tempered

__all__ = ["BINS", "Details", "Evaluation", "Tally", "evaluate", "evaluate_batches", "tempered"]
