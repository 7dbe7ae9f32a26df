"""A registry of classes by name: ours and a third party's."""

import inspect
from typing import Any, Generic, TypeVar

from gatewise.errors import GatewiseError, check_choice

REQUIRED = inspect.Parameter.empty
"""Stands for the default of an option that has to be given."""

Base = TypeVar("Base")
Registered = TypeVar("Registered", bound=type)


class Registry(Generic[Base]):
    """Classes that share a base and carry a `.name`.

    Args:
        kind: what one is called in messages, such as "estimator".

    >>> from gatewise.registry import Registry
    >>> CODECS = Registry("codec")
    >>> @CODECS.register
    ... class Identity:
    ...     name = "identity"
    >>> CODECS.names(), type(CODECS.get("identity")).__name__
    (['identity'], 'Identity')
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._known: dict[str, type[Base]] = {}

    def register(self, cls: Registered) -> Registered:
        """Class decorator: make a class known by its `.name`.

        Raises:
            GatewiseError: if another class has that name.

        >>> import gatewise as gw
        >>> @gw.estimators.register
        ... class Mine(gw.estimators.ScoreFunction):
        ...     name = "mine"
        >>> type(gw.estimators.get("mine")).__name__
        'Mine'
        """
        name = getattr(cls, "name", None)
        if not isinstance(name, str):
            raise GatewiseError(f"{cls.__qualname__} needs a class attribute name to be registered as {self.kind}")
        known = self._known.get(name)
        # the same class defined anew (a module reloaded, a notebook cell run again) replaces its old self
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise GatewiseError(f"{self.kind} {name!r} is registered already, as {known.__qualname__}")
        self._known[name] = cls
        return cls

    def names(self) -> list[str]:
        """All names, sorted.

        >>> import gatewise as gw
        >>> gw.objectives.names()[:3]
        ['evidence', 'hard-em', 'jensen']
        """
        return sorted(self._known)

    def named(self, name: str) -> type[Base]:
        """The class called `name`.

        Raises:
            GatewiseError: for an unknown name.

        >>> import gatewise as gw
        >>> gw.objectives.named("jensen").__name__
        'Jensen'
        """
        check_choice(name, self.names(), self.kind)
        return self._known[name]

    def options(self, name: str) -> dict[str, Any]:
        """The options the class called `name` is made with, and their defaults (`REQUIRED` for one that has none).

        Raises:
            GatewiseError: for an unknown name.

        >>> import gatewise as gw
        >>> gw.estimators.options("gumbel-rao")
        {'temperature': 1.0, 'replicates': 10}
        """
        parameters = list(inspect.signature(self.named(name)).parameters.values())
        return {p.name: p.default for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}

    def get(self, name: str, **chosen: Any) -> Base:
        """Make the one called `name` with the options chosen.

        Raises:
            GatewiseError: for an unknown name, an option that it does not take, or one that it needs.

        >>> import gatewise as gw
        >>> gw.estimators.get("gumbel-softmax", temperature=0.5).temperature
        0.5
        >>> gw.objectives.get("multi-sample", num_samples=4).num_samples
        4
        """
        known = self.options(name)
        for option in chosen:
            if option not in known:
                taken = ", ".join(known) or "none"
                raise GatewiseError(f"{self.kind} {name!r} has no option {option!r}; it takes {taken}")
        missing = [option for option, default in known.items() if default is REQUIRED and option not in chosen]
        if missing:
            raise GatewiseError(f"{self.kind} {name!r} needs the option {', '.join(missing)}; give it a value")
        return self.named(name)(**chosen)
