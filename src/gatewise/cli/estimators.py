"""`gatewise estimators`."""

import inspect
import json
from typing import Annotated, Any

import typer
from rich.table import Table

from gatewise import estimators as registry
from gatewise.cli.console import console
from gatewise.cli.options import Json
from gatewise.estimators.registry import ESTIMATORS
from gatewise.registry import REQUIRED

ASKED = ("value", "logits", "parameters")


def estimators(
    name: Annotated[str | None, typer.Argument(help="One of them: its formula, options and paper.")] = None,
    json_: Json = False,
) -> None:
    """List the gradient estimators and the facts that each states, or explain one.

    Example: gatewise estimators reinmax
    """
    facts = [describe(known) for known in ([name] if name else registry.names())]
    if json_:
        print(json.dumps({"estimators": facts}))
    elif name:
        print(
            f"{name}\n\n{inspect.getdoc(ESTIMATORS.named(name))}\n\nOptions: {', '.join(facts[0]['options']) or 'none'}"
        )
    else:
        console().print(as_table(facts))


def as_table(facts: list[dict[str, Any]]) -> Table:
    """One row an estimator."""
    table = Table(
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
        header_style="bold",
        caption="runs: experts run for an example at S = 2 samples of K = 8 experts",
        caption_justify="left",
    )
    for heading in ("estimator", "unbiased for", "samples", "asks f at", "runs"):
        table.add_column(heading, no_wrap=True)
    for fact in facts:
        table.add_row(
            fact["name"],
            "all" if len(fact["unbiased"]) == len(ASKED) else ", ".join(fact["unbiased"]) or "nothing",
            fact["samples"].replace(" or more", "+"),
            ", ".join(fact["calls"]),
            str(fact["evaluations"]),
        )
    return table


def describe(name: str) -> dict[str, Any]:
    """An estimator's facts, with its default options, for 8 categories where it is made for a number of them."""
    options = registry.options(name)
    estimator = registry.get_fitting(name, num_categories=8)
    counts = estimator.sample_counts
    return {
        "name": name,
        "calls": sorted(estimator.calls),
        "unbiased": [what for what in ASKED if what in estimator.unbiased],
        "samples": f"{counts.start} or more" + (", even" if counts.step == 2 else ""),
        "evaluations": estimator.evaluations(2, 8),
        "options": list(options),
        "required": [option for option, default in options.items() if default is REQUIRED],
        "reference": estimator.reference,
    }
