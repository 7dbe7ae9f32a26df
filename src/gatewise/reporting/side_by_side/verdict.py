"""The verdict on runs side by side, and what could void it, in words."""

from collections.abc import Callable

from gatewise.mixture.information import COLLAPSED, STILL
from gatewise.reporting.schemas.run import Metrics
from gatewise.reporting.side_by_side.table import Compared, Trained
from gatewise.wording import Finding, count, listed, number, percent, short

LONGEST = 60  # letters of a name
FEW_ROWS = 500
MOST_KEYS = 8


def verdict(compared: Compared) -> list[Finding]:
    """What was compared, which is best, and whether the gates choose."""
    return [_compared(compared), *_best(compared), *_gates(compared)]


def doubts(compared: Compared) -> list[str]:
    """What could void the verdict."""
    return [*_data(compared), *_chance(compared), *_training(compared), *_versions(compared)]


def called(run: Trained) -> str:
    """A run's name, short enough for a sentence."""
    return short(run.name, LONGEST)


def _compared(compared: Compared) -> Finding:
    names = listed(list(dict.fromkeys(short(run.summary.data.name, LONGEST) for run in compared.runs)))
    keys = [short(key, LONGEST) for key in compared.differing]
    told = listed([*keys[:MOST_KEYS], *([f"{len(keys) - MOST_KEYS} more"] if len(keys) > MOST_KEYS else [])] or ["–"])
    differ = f"They differ in {told}." if keys else "Their configurations are the same."
    return Finding(
        "fact", f"{len(compared.runs)} runs on {names}, by their figures on the {compared.judged} rows. {differ}"
    )


def _best(compared: Compared) -> list[Finding]:
    """The run of the lowest NLL and the next, where they may be compared."""
    if not compared.same_kind:
        return [Finding("bad", "They predict different things, so none is called better here.")]
    if not compared.comparable:
        return [Finding("bad", "They were trained and judged on different data, so none is called better here.")]
    known = [(nll, run) for run in compared.runs if (nll := compared.metrics(run).nll) is not None]
    if len(known) < 2:
        return [Finding("bad", "Fewer than two runs have a finite NLL, so there is nothing to compare.")]
    (least, best), (second, runner), *_ = sorted(known, key=lambda pair: pair[0])
    if least == second:
        return [Finding("fact", f"{called(best)} and {called(runner)} have the same NLL, {number(least, 4)} nats.")]
    accuracy, other = compared.metrics(best).accuracy, compared.metrics(runner).accuracy
    right = "" if accuracy is None else f", and it is right on {percent(accuracy)}"
    against = "" if other is None else f", and right on {percent(other)}"
    return [
        Finding("fact", f"{called(best)} has the lowest NLL: {number(least, 4)} nats an example{right}."),
        Finding("fact", f"Next is {called(runner)}: {number(second - least, 4)} nats above it{against}."),
    ]


def _gates(compared: Compared) -> list[Finding]:
    """Which gates collapsed, stopped choosing, or left experts dead."""
    choosing = [run for run in compared.runs if run.summary.model.experts > 1]
    if not choosing:
        return [Finding("fact", "With one expert there is nothing to choose.")]

    def those(wrong: Callable[[Metrics], bool]) -> list[Trained]:
        return [run for run in choosing if wrong(compared.metrics(run))]

    fallen = those(lambda m: m.effective_experts is not None and m.effective_experts < COLLAPSED)
    still = those(lambda m: m.mutual_information is not None and m.mutual_information < STILL)
    still = [run for run in still if run not in fallen]
    dead = [run for run in those(lambda m: bool(m.dead_experts)) if run not in fallen]
    lost = [f"{called(run)} ({compared.metrics(run).dead_experts:.0f} of {run.summary.model.experts})" for run in dead]
    found = []
    for told, names in (
        ("The gate collapsed", [called(run) for run in fallen]),
        ("The gate gives every row the same mixture", [called(run) for run in still]),
        ("Experts are dead, first choice on hardly any row", lost),
    ):
        if names:
            found.append(Finding("bad", f"{told}: {listed(names)}."))
    return found or [Finding("good", "No gate collapsed, and no expert is dead.")]


def _data(compared: Compared) -> list[str]:
    if not compared.same_kind:
        heads = listed(sorted({run.summary.model.head for run in compared.runs}))
        return [f"Their heads are {heads}: the NLL of one says nothing about that of another."]
    if compared.same_rows and compared.same_data:
        return []
    if compared.same_rows:
        return ["The runs were trained on different data (the hashes differ), but the same rows judge them."]
    if compared.same_data:
        return [
            f"The data are the same, but not the {compared.judged} rows: they were split otherwise, so part of each "
            "difference is the luck of the split."
        ]
    return [
        "The data differ (so do their hashes, below): accuracy and NLL of one run say nothing about those of another. "
        "Compare runs of the same data, or judge them by gatewise evaluate RUN DATA on the same rows."
    ]


def _chance(compared: Compared) -> list[str]:
    if not compared.comparable:
        return []
    told = [
        "Each run is one training: another seed might turn the order round. gatewise compare trains several seeds and "
        "gives intervals."
    ]
    rows = min(compared.metrics(run).rows for run in compared.runs)
    if 0 < rows < FEW_ROWS:
        told.append(
            f"Few rows: {count(rows, f'{compared.judged} row')}, where one row more or less right moves the accuracy "
            f"by {percent(1 / rows)}."
        )
    if compared.judged == "validation":
        told.append("There is a run without test rows: the validation rows chose each epoch, so their figures flatter.")
    return told


def _training(compared: Compared) -> list[str]:
    cut = [called(run) for run in compared.runs if run.summary.interrupted]
    told = [f"Interrupted before the end of training: {listed(cut)}."] if cut else []
    limit = [called(run) for run in compared.runs if _still_improving(run)]
    if limit:
        told.append(f"The last epoch was still the best: {listed(limit)}. More epochs may change the order.")
    return told


def _still_improving(run: Trained) -> bool:
    summary = run.summary
    return not summary.interrupted and summary.epochs > 1 and summary.best_epoch == summary.epochs


def _versions(compared: Compared) -> list[str]:
    versions = sorted({run.summary.gatewise for run in compared.runs})
    return [f"They were trained by different versions of gatewise: {listed(versions)}."] if versions[1:] else []
