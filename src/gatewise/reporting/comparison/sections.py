"""The sections after the verdict: the command, the table, the curves, and every cell."""

from collections.abc import Mapping
from urllib.parse import quote

from gatewise.reporting.comparison.figures import curves, forest
from gatewise.reporting.html.blocks import Command, Link, Noted, Paragraph, Section, Table, TableRow
from gatewise.reporting.plots.learning_curves import History
from gatewise.reporting.schemas.comparison import CellSchema, CombinationSchema, ComparisonSchema, Interval
from gatewise.wording import NONE, count, number, percent, setting, short

NAME = 120  # letters


def repeat(comparison: ComparisonSchema) -> Section:
    """What it takes to get these numbers again."""
    note = "Cells that are finished are not trained again: the same command goes on where it was stopped."
    return Section("How to repeat it", [Command(comparison.command), Paragraph(note)])


def results(comparison: ComparisonSchema) -> Section:
    """One row a combination: how good, then at what cost."""
    told = _note(comparison)
    good = [TableRow(short(each.name, NAME), _quality(comparison, each)) for each in comparison.combinations]
    cost = [TableRow(short(each.name, NAME), _cost(comparison, each)) for each in comparison.combinations]
    return Section(
        "Results",
        [
            Paragraph(told),
            Table(
                f"How good, on the {comparison.judged} rows",
                ["", "NLL", "NLL, top-1", "accuracy", "accuracy, top-1", "NLL above the best"],
                good,
                wide=True,
            ),
            Table(
                "At what cost",
                ["", "experts used", "experts run", "epochs", "seconds", "seeds done", "failed"],
                cost,
                wide=True,
            ),
        ],
    )


def learning(comparison: ComparisonSchema, histories: Mapping[str, History]) -> Section:
    """The seeds of each combination side by side, and the course of every cell."""
    pictures = [forest(comparison), *curves(comparison, histories)]
    drawn = [picture for picture in pictures if picture is not None]
    return Section("Seeds and learning curves", drawn or [Paragraph("No cell was finished: there is nothing to draw.")])


def cells(comparison: ComparisonSchema) -> Section:
    """Every training, and the way to its own report."""
    header = ["", "seed", "NLL", "accuracy", "epochs, best", "seconds", "report"]
    rows = [_cell(comparison, cell) for cell in comparison.cells]
    return Section("Cells", [Table("Every training", header, rows, wide=True)])


def _note(comparison: ComparisonSchema) -> str:
    level = f"{100 * comparison.confidence:.0f}\N{NO-BREAK SPACE}%"
    seeds = count(len(comparison.seeds), "seed")
    over = f"Means over {seeds}, ± half of the {level} t interval of the mean"
    if len(comparison.seeds) == 1:
        over = "With one seed there are no intervals"
    return (
        f"Ordered by the NLL (negative log-likelihood, nats an example; lower is better) on the {comparison.judged} "
        f"rows, which flatters the first a little. {over}. Top-1: only the expert the gate likes best answers. NLL "
        "above the best: seed by seed, as equal seeds share the split and the first weights; where its interval lies "
        "above 0, the seeds tell the two apart. Experts used: first choice on at least a tenth of an even share of the "
        "rows. Experts run: at most so many for a training example."
    )


def _quality(comparison: ComparisonSchema, combination: CombinationSchema) -> list[str | Noted]:
    figures = comparison.figures(combination)
    if figures is None:
        return [NONE] * 5
    above = spread(combination.difference) if combination.difference else "best"
    if combination.difference is None and combination is not comparison.finished[0]:
        above = NONE
    return [
        spread(figures.nll),
        spread(figures.nll_top1),
        spread(figures.accuracy),
        spread(figures.accuracy_top1),
        above,
    ]


def _cost(comparison: ComparisonSchema, combination: CombinationSchema) -> list[str]:
    figures = comparison.figures(combination)
    used = NONE if figures is None else f"{number(figures.experts_used.mean, 1)} of {combination.experts}"
    run = NONE if combination.evaluations is None else f"{combination.evaluations} of {combination.experts}"
    return [
        used,
        run,
        number(combination.epochs, 0),
        number(combination.seconds, 1),
        str(combination.seeds_done),
        str(combination.seeds_failed),
    ]


def spread(interval: Interval, digits: int = 4) -> str | Noted:
    """The mean, and beneath it ± half the interval where there is one."""
    mean = number(interval.mean, digits)
    return mean if interval.half is None else Noted(mean, f"± {number(interval.half, digits)}")


def _cell(comparison: ComparisonSchema, cell: CellSchema) -> TableRow:
    metrics = comparison.metrics(cell)
    name = short(cell.combination, NAME)
    if cell.status == "failed" or metrics is None:
        return TableRow(name, [str(cell.seed), *[NONE] * 4, "failed"], short(cell.reason or "", 300))
    epochs = f"{cell.epochs or 0}, {cell.best_epoch or 0}"
    link = Link("report", quote(f"{cell.folder}/report.html"))
    figures = [number(metrics.nll, 4), percent(metrics.accuracy), epochs, number(cell.seconds, 1)]
    return TableRow(name, [setting(cell.seed), *figures, link])
