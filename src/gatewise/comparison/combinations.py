"""Combinations of objectives and estimators to compare, from text to configurations.

How an estimator with options is written: `gatewise.config.loading.parse_estimator`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatewise import objectives as known_objectives
from gatewise.config.loading import load_config, parse_estimator
from gatewise.config.objective import build_objective, estimator_name, takes_estimator
from gatewise.config.run import MAKE_ONE, RunConfig
from gatewise.errors import GatewiseError, check_kind, check_kinds
from gatewise.estimators import estimator_text

OWN_KEYS = ("samples", "temperature", "baseline")
"""Options that are keys of the configuration; every other one goes to `estimator_options`."""
BESIDE = ("score-function", "gumbel-softmax")
"""What an objective's default estimator is compared with, where no estimators are named."""
LONGEST = 120  # letters of a folder's name

Parsed = tuple[str, dict[str, Any]]
"""An estimator's name and what is said of it."""


@dataclass(frozen=True)
class Combination:
    """One objective with one estimator: a row of the table.

    Attributes:
        objective: its name.
        estimator: its name; None where the objective takes none.
        options: what was said of the estimator, as values.
        text: the estimator as it is written on the command line, options and all.
        config: the base configuration with these in it; its seed is that of the base.
    """

    objective: str
    estimator: str | None
    options: Mapping[str, Any]
    text: str
    config: RunConfig

    @property
    def name(self) -> str:
        """What it is called in tables: the objective, and the estimator's text."""
        return f"{self.objective} {self.text}".rstrip()

    @property
    def folder(self) -> str:
        """The name as a folder's, different for different names."""
        told = self.name.replace(" ", "-").replace(":", "_")
        safe = re.sub(r"[^A-Za-z0-9._=+-]", "_", told)
        if safe == told and len(safe) <= LONGEST:
            return safe
        return f"{safe[:LONGEST]}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"


def combine(base: RunConfig, estimators: Sequence[str] | None, objectives: Sequence[str]) -> list[Combination]:
    """Every objective with every estimator that serves it; an objective that takes none makes one combination.

    The base configuration's samples, temperature and baseline hold for each estimator that takes such an option and
    does not say its own; its objective_options for each objective that takes them.

    Args:
        base: the configuration that all share.
        estimators: texts as above; None takes each objective's default and `BESIDE`.
        objectives: names.

    Raises:
        GatewiseError: for unknown names, options that are not taken, one named twice, or nothing to compare.
    """
    check_kind(base, RunConfig, "base", MAKE_ONE)
    objectives = check_kinds(objectives, str, "objectives", "such as ['jensen', 'marginal']")
    if estimators is not None:
        estimators = check_kinds(estimators, str, "estimators", "such as ['enumeration', 'score-function:samples=2']")
    if not objectives or (estimators is not None and not estimators):
        raise GatewiseError("there is nothing to compare; name at least one objective and one estimator")
    _check_base(base, objectives)
    bases = {name: _with_objective(base, name) for name in objectives}
    taking = [name for name in bases if takes_estimator(bases[name])]
    if not taking and estimators is not None:
        raise GatewiseError(
            f"{' and '.join(objectives)} takes no estimator; leave the estimators out, or add the objective jensen"
        )
    parsed = None if estimators is None else [parse_estimator(text) for text in estimators]
    pairs = {name: _defaults(bases[name]) if parsed is None else _serving(name, parsed) for name in taking}
    _check_estimators(base, objectives, pairs, parsed or [])
    made = []
    for objective in objectives:
        made += [_combination(bases[objective], *pair) for pair in pairs.get(objective, [(None, {})])]
    names = [combination.name for combination in made]
    for name in names:
        if names.count(name) > 1:
            raise GatewiseError(f"{name} is named twice; name each combination once")
    return made


def check(combinations: Iterable[Combination], features: int) -> None:
    """Refuse what cannot be trained on rows of so many features.

    Raises:
        GatewiseError: naming the first combination, and what would work where that is known.
    """
    for combination in combinations:
        try:
            build_objective(combination.config, features)
        except GatewiseError as error:
            raise GatewiseError(f"{combination.name}: {error}{_cure(combination, features)}") from None


def _cure(combination: Combination, features: int) -> str:
    """The end of a refusal that another number of samples would mend."""
    for samples in (2, 3):
        try:
            build_objective(combination.config.model_copy(update={"samples": samples}), features)
        except GatewiseError:
            continue
        said = {**combination.options, "samples": samples}
        return f"; write {estimator_text(combination.estimator or '', said)}"
    return ""


def _with_objective(base: RunConfig, objective: str) -> RunConfig:
    """The base for one objective: with those of the objectives' options that it takes, and no estimator yet."""
    known = known_objectives.options(objective)
    options = {key: value for key, value in base.objective_options.items() if key in known}
    update = {"objective": objective, "objective_options": options, "estimator": None}
    return base.model_copy(update=update)


def _defaults(base: RunConfig) -> list[Parsed]:
    """The objective's own default, and others beside it."""
    return [(name, {}) for name in dict.fromkeys([estimator_name(base) or "enumeration", *BESIDE])]


def _serving(objective: str, parsed: Sequence[Parsed]) -> list[Parsed]:
    """Those that may serve an objective: one that is another objective's own does not."""
    return [pair for pair in parsed if objective in (known_objectives.owners(pair[0]) or [objective])]


def _check_base(base: RunConfig, objectives: Sequence[str]) -> None:
    """Options that the base holds must serve one of the objectives compared, or belong elsewhere."""
    if base.estimator_options:
        raise GatewiseError("estimator_options belong to one estimator; write them after its name, NAME:KEY=VALUE")
    for option in base.objective_options:
        if not any(option in known_objectives.options(name) for name in objectives):
            raise GatewiseError(f"no objective that is compared takes the option {option}; leave it out")


def _check_estimators(
    base: RunConfig, objectives: Sequence[str], pairs: Mapping[str, list[Parsed]], parsed: Sequence[Parsed]
) -> None:
    """Every estimator must serve an objective, every objective that takes one have one, and the base's options both."""
    for name, _ in parsed:
        owners = known_objectives.owners(name)
        if owners and not set(owners) & set(pairs):
            raise GatewiseError(f"estimator {name!r} serves the objective {' or '.join(owners)} alone; add that one")
    for objective, chosen in pairs.items():
        if not chosen:
            raise GatewiseError(f"{objective} is left without an estimator; name one that serves it, or leave it out")
    names = {name for chosen in pairs.values() for name, _ in chosen}
    taken = {key for name in names for key in known_objectives.estimator_options(name)}
    taken |= {key for name in objectives if name not in pairs for key in known_objectives.options(name)}
    for key in ("temperature", "baseline"):
        if getattr(base, key) is not None and key not in taken:
            raise GatewiseError(f"no estimator that is compared takes a {key}; leave it out")


def _combination(base: RunConfig, estimator: str | None, given: dict[str, Any]) -> Combination:
    keys: dict[str, Any] = {"temperature": None, "baseline": None, "samples": None}
    if estimator is None:
        text, taken = "", {name.replace("num_samples", "samples") for name in known_objectives.options(base.objective)}
        taken -= {"samples"} if "estimator" in taken else set()
    else:
        text, taken = estimator_text(estimator, given), {"samples", *known_objectives.estimator_options(estimator)}
        others = {key: value for key, value in given.items() if key not in OWN_KEYS}
        keys |= {"estimator": estimator, "estimator_options": others}
    keys |= {key: getattr(base, key) for key in OWN_KEYS if key in taken}
    keys |= {key: given[key] for key in OWN_KEYS if key in given}
    config = load_config(base.model_dump() | keys, dict.fromkeys(keys, text or base.objective))
    return Combination(base.objective, estimator, given, text, config)
