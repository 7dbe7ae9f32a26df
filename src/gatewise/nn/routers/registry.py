"""The registry of routers."""

from gatewise.nn.routers.base import Router
from gatewise.registry import Registry

ROUTERS: Registry[Router] = Registry("router")

register = ROUTERS.register
names = ROUTERS.names
options = ROUTERS.options
get = ROUTERS.get
