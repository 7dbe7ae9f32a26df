"""`gatewise estimators`."""

import json
from typing import Any

from rich.table import Table

from gatewise import estimators as registry
from gatewise.cli.console import console
from gatewise.cli.options import Json

ASKED = ("value", "logits", "parameters")


def estimators(json_: Json = False) -> None:
    """List the gradient estimators and the facts that each states.

    Example: gatewise estimators --json
    """
    facts = [describe(name) for name in registry.names()]
    if json_:
        print(json.dumps({"estimators": facts}))
        return
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("estimator", no_wrap=True, min_width=max(len(fact["name"]) for fact in facts))
    for heading in ("asks f", "unbiased for", "samples", "experts run, S = 2, K = 8", "options"):
        table.add_column(heading)
    for fact in facts:
        table.add_row(
            fact["name"],
            ", ".join(fact["calls"]),
            ", ".join(fact["unbiased"]) or "nothing",
            fact["samples"],
            str(fact["evaluations"]),
            ", ".join(fact["options"]) or "none",
        )
    console().print(table)


def describe(name: str) -> dict[str, Any]:
    """An estimator's facts, with its default options, for 8 categories where it is made for a number of them."""
    options = registry.options(name)
    estimator = registry.get(name, **({"num_categories": 8} if "num_categories" in options else {}))
    counts = estimator.sample_counts
    return {
        "name": name,
        "calls": sorted(estimator.calls),
        "unbiased": [what for what in ASKED if what in estimator.unbiased],
        "samples": f"{counts.start} or more" + (", even" if counts.step == 2 else ""),
        "evaluations": estimator.evaluations(2, 8),
        "options": list(options),
        "reference": estimator.reference,
    }
