"""The registry of objectives."""

from gatewise.objectives.base import Objective
from gatewise.registry import Registry

OBJECTIVES: Registry[Objective] = Registry("objective")

register = OBJECTIVES.register
names = OBJECTIVES.names
options = OBJECTIVES.options
get = OBJECTIVES.get
