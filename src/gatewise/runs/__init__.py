"""From a configuration to a run folder, and back."""

from gatewise.runs.run import Run
from gatewise.runs.train import resume, train

__all__ = ["Run", "resume", "train"]
