"""The pages of estimators and objectives: one for each that is registered, from what it says of itself."""

import inspect
from pathlib import Path
from typing import Any

from gatewise import estimators, objectives
from gatewise.cli.estimators import ASKED, describe
from gatewise.estimators.registry import ESTIMATORS
from gatewise.registry import REQUIRED
from sitegen import pictures
from sitegen.docstrings import markdown
from sitegen.pieces import first_paragraph, paragraphs, table, toctree

K = 8
PLACES = {"all": "all categories", "index": "the categories drawn", "point": "points between the categories"}
NEEDED = "yes: f must be differentiable between the categories"


def options_text(options: dict[str, Any]) -> str:
    """Options and their defaults, in one cell."""
    shown = [f"`{key}` " + ("(needed)" if value is REQUIRED else f"= `{value!r}`") for key, value in options.items()]
    return ", ".join(shown) or "none"


def estimator_facts(name: str) -> list[list[str]]:
    """What an estimator states of itself, in words."""
    cls, facts, options = ESTIMATORS.named(name), describe(name), estimators.options(name)
    made = estimators.get_fitting(name, K)
    counts = [count for count in (1, 2, 4, 8, 16) if count in made.sample_counts]
    runs = ", ".join(f"{made.evaluations(count, K)} at S = {count}" for count in counts)
    biased = [what for what in ASKED if what not in facts["unbiased"]]
    return [
        ["unbiased for", ", ".join(facts["unbiased"]) or "nothing"],
        ["biased for", ", ".join(biased) or "nothing"],
        ["asks f at", " and ".join(PLACES[call] for call in facts["calls"])],
        ["needs a gradient of f", NEEDED if "point" in facts["calls"] else "no: f may be a black box of the category"],
        ["samples S", facts["samples"]],
        [f"evaluations an example, at most, of K = {K}", runs],
        ["baselines", f"yes, by default `{options['baseline']!r}`" if "baseline" in options else "none"],
        ["several latents", "no" if 1 not in cls.event_dims else "as one with K^L categories" if cls.joint else "yes"],
        ["under `torch.compile(fullgraph=True)`", "yes" if cls.compiles else "no"],
        ["options", options_text(options)],
        ["reference", facts["reference"]],
    ]


def estimator_page(name: str, varied: str) -> str:
    """Formula, facts, picture."""
    cls = ESTIMATORS.named(name)
    needed = ", num_categories=8" if REQUIRED in estimators.options(name).values() else ""
    setting = "against λ, at the least S it takes" if varied == "temperature" else "against S, with its other defaults"
    draws = pictures.ROWS * (pictures.CALLS - pictures.WARM)
    return paragraphs(
        f"# `{name}`",
        f'```python\nimport gatewise as gw\n\nestimator = gw.estimators.get("{name}"{needed})\n```',
        markdown(inspect.getdoc(cls) or ""),
        "## Facts",
        table(["", "as the estimator states it"], estimator_facts(name)),
        "## On a small problem",
        f"![Bias and standard deviation of {name}]({name}.svg)",
        f"Bias and standard deviation of the gradient for the logits, {setting}: one choice of "
        f"K = {pictures.CATEGORIES}, "
        "f(z) = sin h + h²/2 with h = ⟨z, w⟩ (`gatewise.testing.Toy`), in float64, "
        f"{draws} estimates a point, measured when this page was built (`make docs`). "
        "What lies below 10⁻⁴ is drawn there. It is one problem: on yours, "
        "[the audit](../../audit.md) measures.",
    )


def objective_page(name: str) -> str:
    """Formula, facts, picture."""
    cls, options = objectives.named(name), objectives.options(name)
    made = objectives.get_fitting(name, K, 4, 3)
    own = ", ".join(f"`{known}`" for known in cls.own_estimators.names())
    takes = "every one of [the estimators](../estimators/index.md)" if cls.takes_estimator() else "none by default"
    facts = [
        ["takes a gradient estimator", takes + (f", and its own: {own}" if own else "")],
        [f"experts run for an example, at most, of K = {K}, with its defaults", str(made.evaluations(K))],
        ["options", options_text(options)],
        ["reference", cls.reference],
    ]
    return paragraphs(
        f"# `{name}`",
        f"    gatewise train digits --objective {name}",
        markdown(inspect.getdoc(cls) or ""),
        "## Facts",
        table(["", "as the objective states it"], facts),
        "## On a small mixture",
        f"![How far {name} is below the likelihood]({name}.svg)",
        f"How far it lies below log p(y|x), the mean over 32 rows ({pictures.DRAWS} draws each where it "
        "draws), for 5 linear experts that disagree, by how sure the gate is: "
        "measured when this page was built (`make docs`). "
        "What each makes of a trained mixture: [Objectives](../../objectives.md).",
    )


def write_estimators(folder: Path) -> dict[str, str]:
    """The pictures into `folder`; page name to Markdown."""
    written, rows = {}, []
    for name in estimators.names():
        varied, points = pictures.draw_estimator(name, folder / f"{name}.svg")
        written[name] = estimator_page(name, varied)
        facts = describe(name)
        first = points[0] if varied == "samples" else next(p for p in points if p.at == 1.0)
        bias = f"{first.bias:.2f}" if first.told_from_zero else "not told from 0"
        unbiased = "all" if len(facts["unbiased"]) == len(ASKED) else ", ".join(facts["unbiased"]) or "nothing"
        at = "λ = 1" if varied == "temperature" else f"S = {first.at:g}"
        rows.append([f"[`{name}`]({name}.md)", unbiased, ", ".join(facts["calls"]), at, bias, f"{first.spread:.2f}"])
    heading = ["estimator", "unbiased for", "asks f at", "measured at", "bias", "standard deviation"]
    about = (
        "# All estimators\n\nEvery registered estimator, with a page for each. Bias and standard deviation are "
        "those of the gradient for the logits, relative to its length, on the small problem of each page, "
        "measured at build "
        "time. Which one to use: [Choosing an estimator](../../choosing-an-estimator.md).\n\n"
    )
    return {"index": about + table(heading, rows) + "\n\n" + toctree(estimators.names()), **written}


def write_objectives(folder: Path) -> dict[str, str]:
    """The pictures into `folder`; page name to Markdown."""
    curves = {name: pictures.gaps(name) for name in objectives.names()}
    for name in curves:
        pictures.draw_objective(name, curves, folder / f"{name}.svg")
    rows = [
        [f"[`{name}`]({name}.md)", first_paragraph(inspect.getdoc(objectives.named(name)) or "")] for name in curves
    ]
    about = "# All objectives\n\nWhich one to use: [Objectives](../../objectives.md).\n\n"
    index = about + table(["objective", "what it is"], rows) + "\n\n" + toctree(list(curves))
    return {"index": index, **{name: objective_page(name) for name in curves}}


def decision_table() -> str:
    """Every estimator in the cell that its facts put it in: what it asks of f, and what it is unbiased for."""
    asked = {
        "at the S categories drawn, S < K": lambda e: e.calls == {"index"} and e.evaluations(1, K) < K,
        "at the categories drawn, up to all K": lambda e: e.calls == {"index"} and e.evaluations(1, K) == K,
        "at all K categories": lambda e: "all" in e.calls,
        "at points between the categories": lambda e: "point" in e.calls,
    }
    promised = {
        "no bias at all": lambda e: len(e.unbiased) == len(ASKED),
        "no bias for value and parameters": lambda e: 0 < len(e.unbiased) < len(ASKED),
        "no promise": lambda e: not e.unbiased,
    }
    made = {name: estimators.get_fitting(name, K) for name in estimators.names()}
    rows = []
    for said, asks in asked.items():
        cells = [[n for n, e in made.items() if asks(e) and keeps(e)] for keeps in promised.values()]
        # from generated/fragments, as the page that includes this sees it
        rows.append([said, *(", ".join(f"[{n}](generated/estimators/{n}.md)" for n in cell) or "–" for cell in cells)])
    return table(["f can be evaluated", *promised], rows) + "\n"
