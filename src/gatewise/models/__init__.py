"""What a run folder holds as its model, and what predicts: read, built, saved, exported."""

from gatewise.models.model import Model
from gatewise.models.predictions import Predictions, Trust
from gatewise.models.spec import ModelSpec

__all__ = ["Model", "ModelSpec", "Predictions", "Trust"]
