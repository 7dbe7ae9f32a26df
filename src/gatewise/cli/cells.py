"""A comparison on the screen: a line for each cell that is done, and the table at the end."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from gatewise.cli.progress import Lines
from gatewise.cli.stopping import stop
from gatewise.comparison import Watcher
from gatewise.comparison.summary import Outcome
from gatewise.reporting.schemas.comparison import CombinationSchema, ComparisonSchema, Interval
from gatewise.wording import NONE, count, number


class Cells(Watcher):
    """One line a cell, on standard error; on a terminal with the count of those to come beneath it.

    Args:
        screen: where to.
        jobs: how many are trained at a time.
        folder: of the comparison.
    """

    def __init__(self, screen: Console, jobs: int, folder: Path):
        self.screen, self.jobs, self.folder = screen, jobs, folder
        self.total = self.done = self.told = 0
        self.say = Lines(screen).say
        self.status = screen.status("") if screen.is_terminal else None

    def on_start(self, total: int, done: int) -> None:
        """Say how much there is to do."""
        self.total, self.done, self.told = total, done, done
        before = f", {done} of them done before" if done else ""
        at_a_time = f"; {self.jobs} at a time" if self.jobs > 1 and total - done > 1 else ""
        self.say(f"{count(total, 'cell')}{before}: {total - done} to train{at_a_time}")
        if self.status is not None and total > done:
            self.status.start()
        self._count()

    def on_cell(self, outcome: Outcome) -> None:
        """Say what came of a cell."""
        self.told += 1
        cell, summary = outcome.cell, outcome.summary
        name = f"{self.told}/{self.total}  {cell.combination.name}, seed {cell.seed}"
        if summary is None:
            self.say(f"{name}: failed: {outcome.reason}", style="yellow")
        else:
            self.done += 1
            part = "test" if summary["test"] else "validation"
            self.say(
                f"{name}: {part} NLL {summary[part]['nll']:.4f}  accuracy {summary[part]['accuracy']:.4f}  "
                f"{summary['epochs']} epochs  {summary['seconds']:.1f} s"
            )
        self._count()

    def stopped(self) -> None:
        """Say what is kept, and how to go on."""
        self.close()
        if self.total:
            self.say(
                f"stopped; {self.done} of {count(self.total, 'cell')} are finished and kept in "
                f"{self.folder / 'cells'}; the same command goes on from there"
            )
        else:
            self.say("stopped before anything was trained")

    def close(self) -> None:
        """Take the count away."""
        if self.status is not None:
            self.status.stop()

    def _count(self) -> None:
        if self.told == self.total:  # what is left to do takes a moment, and is done whole
            stop.notes = True
        if self.status is not None:
            self.status.update(f"{self.total - self.told} of {self.total} cells to go")


def comparison_table(comparison: ComparisonSchema) -> Table:
    """A row a combination, best first; beneath each mean ± half of its interval."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", min_width=16, overflow="fold")
    for heading in ("NLL", "NLL\ntop-1", "accuracy", "accuracy\ntop-1", "experts\nused", "epochs\nseconds", "seeds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for combination in comparison.combinations:
        table.add_row(*_row(comparison, combination))
    return table


def legend(comparison: ComparisonSchema) -> str:
    """What the table's order, rows and intervals are."""
    part, seeds = comparison.judged, len(comparison.seeds)
    told = f"best {part} NLL first; all on {comparison.rows_judged} {part} rows; "
    if seeds == 1:
        return told + "one seed, so there are no intervals"
    return told + f"± half of the {100 * comparison.confidence:.0f} % t interval over {seeds} seeds"


def _row(comparison: ComparisonSchema, combination: CombinationSchema) -> list[str]:
    figures = comparison.figures(combination)
    seeds = str(combination.seeds_done)
    if combination.seeds_failed:
        seeds += f"\n{combination.seeds_failed} failed"
    name = combination.name.replace(" ", "\n", 1).replace(":", "\n :")
    if figures is None:
        return [name, *[NONE] * 6, seeds]
    measures = (figures.nll, figures.nll_top1, figures.accuracy, figures.accuracy_top1)
    used = f"{number(figures.experts_used.mean, 1)}\nof {combination.experts}"
    cost = f"{number(combination.epochs, 0)}\n{number(combination.seconds, 1)} s"
    return [name, *map(_spread, measures), used, cost, seeds]


def _spread(interval: Interval) -> str:
    mean = number(interval.mean, 4)
    return mean if interval.half is None else f"{mean}\n±{number(interval.half, 4)}"
