"""What a user may say: the configuration, read, checked and written."""

from gatewise.config.run import LoopConfig, RunConfig, load_config

__all__ = ["LoopConfig", "RunConfig", "load_config"]
