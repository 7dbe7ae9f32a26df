"""Training: the loop, and a run from data to a folder."""

from gatewise.training.callbacks import Callback
from gatewise.training.config import LoopConfig, RunConfig, load_config
from gatewise.training.loop import Fit, fit
from gatewise.training.predict import Predictions, Trust
from gatewise.training.run import Run, train

__all__ = ["Callback", "Fit", "LoopConfig", "Predictions", "Run", "RunConfig", "Trust", "fit", "load_config", "train"]
