"""Models on disk and in use: built, saved, read, exported, and what predicts."""

from gatewise.models.model import Model
from gatewise.models.predictions import Predictions, Trust
from gatewise.models.spec import ModelSpec

__all__ = ["Model", "ModelSpec", "Predictions", "Trust"]
