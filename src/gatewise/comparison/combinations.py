"""Which objectives and estimators are compared, from text to configurations.

How an estimator with options is written: `gatewise.training.estimator_text`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatewise import estimators as known_estimators
from gatewise import objectives as known_objectives
from gatewise.errors import GatewiseError
from gatewise.training.config import RunConfig, load_config
from gatewise.training.estimator_text import estimator_text, parse_estimator
from gatewise.training.model import build_objective

OWN_KEYS = ("samples", "temperature", "baseline")
"""Options that are keys of the configuration; every other one goes to `estimator_options`."""
DEFAULT_ESTIMATORS = ("enumeration", "score-function", "gumbel-softmax")
LONGEST = 120  # letters of a folder's name


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
    """Every objective with every estimator; an objective that takes none makes one combination.

    The base configuration's samples, temperature and baseline hold for each estimator that takes such an option and
    does not say its own.

    Args:
        base: the configuration that all share.
        estimators: texts as above; None takes `DEFAULT_ESTIMATORS`.
        objectives: names.

    Raises:
        GatewiseError: for unknown names, options that are not taken, one named twice, or nothing to compare.
    """
    if not objectives or (estimators is not None and not estimators):
        raise GatewiseError("there is nothing to compare; name at least one objective and one estimator")
    taking = [name for name in objectives if "estimator" in known_objectives.options(name)]
    if not taking and estimators is not None:
        raise GatewiseError(
            f"{' and '.join(objectives)} takes no estimator; leave the estimators out, or add the objective jensen"
        )
    parsed = [parse_estimator(text) for text in (DEFAULT_ESTIMATORS if estimators is None else estimators)]
    _check_base(base, [name for name, _ in parsed])
    made = []
    for objective in objectives:
        made += [_combination(base, objective, *pair) for pair in (parsed if objective in taking else [(None, {})])]
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


def _check_base(base: RunConfig, names: list[str]) -> None:
    """Options of one estimator that the base holds must serve one of those compared."""
    if base.estimator_options:
        raise GatewiseError("estimator_options belong to one estimator; write them after its name, NAME:KEY=VALUE")
    for key in ("temperature", "baseline"):
        if getattr(base, key) is not None and not any(key in known_estimators.options(name) for name in names):
            raise GatewiseError(f"no estimator that is compared takes a {key}; leave it out")


def _combination(base: RunConfig, objective: str, estimator: str | None, given: dict[str, Any]) -> Combination:
    fields = RunConfig.model_fields
    keys: dict[str, Any] = {"objective": objective}
    if estimator is None:
        keys |= {key: fields[key].default for key in ("estimator", *OWN_KEYS)}
        text = ""
    else:
        text = estimator_text(estimator, given)
        taken = {"samples", *known_estimators.options(estimator)}
        shared = {key: getattr(base, key) for key in OWN_KEYS if key in taken}
        own = {key: given[key] for key in OWN_KEYS if key in given}
        others = {key: value for key, value in given.items() if key not in OWN_KEYS}
        keys |= {"estimator": estimator, "temperature": None, "baseline": None, "estimator_options": others}
        keys |= shared | own
    config = load_config(base.model_dump() | keys, dict.fromkeys(keys, text or objective))
    return Combination(objective, estimator, given, text, config)
