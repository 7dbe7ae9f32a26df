"""The verdict on a comparison, and what could void it, in words."""

from gatewise.mixture.information import COLLAPSED, STILL
from gatewise.reporting.schemas.comparison import CombinationSchema, ComparisonSchema, Interval
from gatewise.wording import Finding, count, duration, listed, number, percent, short

FEW_SEEDS = 5
FEW_ROWS = 500
LONGEST = 80  # letters of a name


def verdict(comparison: ComparisonSchema) -> list[Finding]:
    """What was compared, which is best, whether the seeds tell it from the others, and whether the gates choose."""
    finished = comparison.finished
    if not finished:
        return [_compared(comparison), Finding("bad", "No cell was finished, so there is nothing to compare.")]
    found = [_compared(comparison), _best(comparison, finished[0]), *_apart(comparison, finished)]
    return [*found, *_cheaper(comparison, finished), *_gates(comparison, finished)]


def doubts(comparison: ComparisonSchema) -> list[str]:
    """What could void the verdict: too little of something, and what went wrong."""
    return [
        *_failures(comparison),
        *_seeds(comparison),
        *_rows(comparison),
        *_limits(comparison),
        *_versions(comparison),
    ]


def told_apart(difference: Interval) -> bool:
    """Whether the interval of a difference lies above 0."""
    return difference.low is not None and difference.low > 0


def _called(combination: CombinationSchema) -> str:
    return short(combination.name, LONGEST)


def _compared(comparison: ComparisonSchema) -> Finding:
    data = comparison.data
    on = "" if data is None else f" on {short(data.name, LONGEST)} ({count(data.train_rows, 'row')} for training)"
    return Finding(
        "fact",
        f"{count(len(comparison.combinations), 'combination')} of objective and estimator, trained{on} with "
        f"{count(len(comparison.seeds), 'seed')} each, are compared by the NLL on the {comparison.judged} rows.",
    )


def _best(comparison: ComparisonSchema, best: CombinationSchema) -> Finding:
    figures = comparison.figures(best)
    assert figures is not None  # it is one of those finished
    nll = number(figures.nll.mean, 4)
    return Finding(
        "fact",
        f"Best is {_called(best)}: NLL {nll} nats an example{_between(comparison, figures.nll)}, and right on "
        f"{percent(figures.accuracy.mean)} of the {comparison.judged} rows.",
    )


def _between(comparison: ComparisonSchema, interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return ""
    ends = f"{number(interval.low, 4)} to {number(interval.high, 4)}"
    return f" ({100 * comparison.confidence:.0f}\N{NO-BREAK SPACE}% interval {ends})"


def _apart(comparison: ComparisonSchema, finished: list[CombinationSchema]) -> list[Finding]:
    """The best against the next, then against all others that it is not told from."""
    if len(finished) == 1:
        return [Finding("fact", "No other combination was finished, so there is nothing to compare it with.")]
    runner, difference = finished[1], finished[1].difference
    if difference is None:
        return [
            Finding("bad", f"It shares no finished seed with the next, {_called(runner)}: they cannot be compared.")
        ]
    seeds, more = count(difference.seeds, "seed"), number(difference.mean, 4)
    if difference.low is None:
        return [Finding("bad", f"One seed cannot tell it from the next, {_called(runner)}, {more} nats above it.")]
    told = f"{more} nats above it on the same split and first weights{_between(comparison, difference)}"
    if told_apart(difference):
        found = [Finding("good", f"{seeds} tell it from the next, {_called(runner)}: {told}.")]
    else:
        found = [Finding("fact", f"{seeds} do not tell it from the next, {_called(runner)}: {told}, which holds 0.")]
    others = [_called(other) for other in finished[2:] if other.difference and not told_apart(other.difference)]
    if others:
        found.append(Finding("fact", f"Nor do they tell it from {listed(others)}."))
    return found


def _cheaper(comparison: ComparisonSchema, finished: list[CombinationSchema]) -> list[Finding]:
    """The one that runs the fewest experts of those that are as good as the seeds can tell."""
    best = finished[0]
    alike = [each for each in finished[1:] if each.difference and not told_apart(each.difference)]
    alike = [each for each in alike if each.evaluations is not None and each.evaluations < (best.evaluations or 0)]
    if not alike or len(comparison.seeds) == 1:
        return []
    least = min(alike, key=lambda each: each.evaluations or 0)
    return [
        Finding(
            "fact",
            f"Of those not told from it, {_called(least)} runs the fewest experts: at most {least.evaluations} of "
            f"{least.experts} for a training example, where the best runs {best.evaluations}.",
        )
    ]


def _gates(comparison: ComparisonSchema, finished: list[CombinationSchema]) -> list[Finding]:
    """Which gates collapsed, stopped choosing, or left experts dead."""
    choosing = [combination for combination in finished if combination.experts > 1]
    if not choosing:
        return [Finding("fact", "With one expert there is nothing to choose.")]
    collapsed, still, dead = [], [], []
    for combination in choosing:
        cells = [metrics for cell in comparison.done(combination) if (metrics := comparison.metrics(cell)) is not None]
        of = f" in {{}} of {count(len(cells), 'seed')}"
        fallen = sum(m.effective_experts is not None and m.effective_experts < COLLAPSED for m in cells)
        stopped = sum(m.mutual_information is not None and m.mutual_information < STILL for m in cells)
        lost = max((m.dead_experts or 0 for m in cells), default=0)
        collapsed += [_called(combination) + of.format(fallen)] if fallen else []
        still += [_called(combination) + of.format(stopped)] if stopped and not fallen else []
        dead += [f"{_called(combination)} (up to {lost:.0f} of {combination.experts})"] if lost and not fallen else []
    found = []
    if collapsed:
        found.append(Finding("bad", f"The gate collapsed: {listed(collapsed)}."))
    if still:
        found.append(Finding("bad", f"The gate gives every row the same mixture: {listed(still)}."))
    if dead:
        found.append(Finding("bad", f"Experts are dead, first choice on hardly any row: {listed(dead)}."))
    return found or [Finding("good", "No gate collapsed, and every combination uses all its experts with every seed.")]


def _failures(comparison: ComparisonSchema) -> list[str]:
    failed: dict[tuple[str, str], list[str]] = {}
    for cell in comparison.cells:
        if cell.status == "failed":
            failed.setdefault((cell.combination, cell.reason or "no reason known"), []).append(str(cell.seed))
    told = [
        f"{short(name, LONGEST)} failed with {'seed' if len(seeds) == 1 else 'seeds'} {listed(seeds)}: {reason}"
        for (name, reason), seeds in failed.items()
    ]
    partly = [each for each in comparison.finished if each.seeds_failed]
    if partly:
        names = listed([_called(each) for each in partly])
        told.append(f"The means of {names} are over fewer seeds than the others', and leave out what failed.")
    return told


def _seeds(comparison: ComparisonSchema) -> list[str]:
    seeds = len(comparison.seeds)
    if seeds == 1:
        return ["One seed: no interval can be given, and no difference here can be told from chance. Add seeds."]
    if seeds < FEW_SEEDS:
        return [
            f"Few seeds: the intervals rest on {seeds} numbers each, and are only as good as the assumption that seeds "
            "scatter normally."
        ]
    return []


def _rows(comparison: ComparisonSchema) -> list[str]:
    rows, told = comparison.rows_judged, []
    if comparison.data is not None and comparison.judged == "validation":
        told.append("There were no test rows: the validation rows chose each cell's epoch too, so the NLL flatters.")
    if rows and rows < FEW_ROWS:
        told.append(
            f"Few rows: each cell is judged on {count(rows, f'{comparison.judged} row')}, where one row more or less "
            f"right moves the accuracy by {percent(1 / rows)}."
        )
    return told


def _limits(comparison: ComparisonSchema) -> list[str]:
    done = [cell for cell in comparison.cells if cell.status == "done"]
    cut = [cell.combination for cell in done if cell.still_improving]
    if not cut:
        return []
    names = [short(name, LONGEST) for name in dict.fromkeys(cut)]
    of = f" ({listed(names)})" if len(cut) < len(done) else ""
    return [
        f"The limit of epochs ended {len(cut)} of {count(len(done), 'cell')} while the last epoch was still the "
        f"best{of}: more epochs may change the order."
    ]


def _versions(comparison: ComparisonSchema) -> list[str]:
    done = [cell for cell in comparison.cells if cell.status == "done"]
    versions = sorted({cell.gatewise or "unknown" for cell in done})
    told = [f"The cells were trained by different versions of gatewise: {listed(versions)}."] if versions[1:] else []
    before = sum(cell.trained_before for cell in done)
    if 0 < before < len(done):
        told.append(f"{before} of {count(len(done), 'cell')} were trained earlier: compare the seconds with care.")
    return told


def summary_line(comparison: ComparisonSchema) -> str:
    """How much was trained, in how long."""
    done = sum(cell.status == "done" for cell in comparison.cells)
    return f"{done} of {count(len(comparison.cells), 'cell')} done in {duration(comparison.seconds)}"
