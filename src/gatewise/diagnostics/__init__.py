"""What a mixture does with its experts, how well it predicts, and how far its gradient is from the exact one."""

from gatewise.diagnostics.auditing import Audit, audit
from gatewise.diagnostics.evaluation import BINS, Details, Evaluation, Tally, evaluate, evaluate_batches

__all__ = ["BINS", "Audit", "Details", "Evaluation", "Tally", "audit", "evaluate", "evaluate_batches"]
