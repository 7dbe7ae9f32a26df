"""The configuration: all that a user may say, read, checked and written."""

from gatewise.config.loading import load_config
from gatewise.config.run import LoopConfig, RunConfig

__all__ = ["LoopConfig", "RunConfig", "load_config"]
