"""The verdict: what the numbers say, in words."""

import math

from gatewise.mixture.information import COLLAPSED, STILL
from gatewise.reporting.schemas.run import Metrics, Summary
from gatewise.wording import Finding, count, duration, listed, measure, number, percent, short

SAME_NLL = 0.01  # nats; a smaller difference between top-1 and mixture is not worth an expert's time
SEEN = 0.02  # of the test rows; a few are equal to some that were trained on by chance
LOOSE = 0.1  # nats of bound gap
MOST_NAMED = 5  # classes


def verdict(summary: Summary) -> list[Finding]:
    """What was trained, how good it is, and whether the gate does its work. A measure that is missing is left out."""
    part, metrics = summary.judged
    gate = [_use, _collapse, _choice, _top1, _gap] if summary.model.experts > 1 else [_single]
    findings = [
        _trained(summary),
        _interrupted(summary),
        _quality(summary, part, metrics),
        _most_frequent(summary, metrics),
        _never_predicted(metrics),
        _telling(summary),
        _seen(summary),
        _untested(summary),
        *(Finding("fact", told) for told in (*summary.data.readings, summary.data.left_out) if told),
        *(finding(summary, metrics) for finding in gate),
    ]
    return [finding for finding in findings if finding is not None]


def _trained(summary: Summary) -> Finding:
    data, model = summary.data, summary.model
    what = "A single expert" if model.experts == 1 else f"A mixture of {model.experts} experts"
    by = f"the objective {model.objective}" + (f" and the estimator {model.estimator}" if model.estimator else "")
    run = "all" if model.evaluations >= model.experts else f"at most {model.evaluations}"
    effort = f", running {run} of its {model.experts} experts for an example" if model.experts > 1 else ""
    target = f"a target of numbers, head {model.head}"
    if data.classes or data.labels:
        target = count(len(data.labels), "label") if data.labels else count(len(data.classes), "class", "classes")
    best = f", the best of them epoch {summary.best_epoch}" if summary.epochs > 1 and summary.best_epoch else ""
    return Finding(
        "fact",
        f"{what} ({count(model.parameters, 'parameter')}) was trained on {data.name} "
        f"({count(data.train_rows, 'row')} for training, {count(data.columns, 'column')}, "
        f"{target}) by {by}{effort}: {count(summary.epochs, 'epoch')} "
        f"in {duration(summary.seconds)}{best}.",
    )


def _interrupted(summary: Summary) -> Finding | None:
    if not summary.interrupted:
        return None
    return Finding("bad", "The run was interrupted before its end: the numbers are those of the best epoch until then.")


def _quality(summary: Summary, part: str, metrics: Metrics) -> Finding:
    rows = count(metrics.rows, f"{part} row")
    if summary.data.labels:
        return _labels(rows, metrics)
    if not summary.data.classes:
        return _numbers(rows, metrics)
    if metrics.accuracy is None or metrics.nll is None:
        return Finding("bad", f"On {rows} the accuracy or the NLL is not a finite number: training has failed.")
    usual, guess = metrics.constant_nll, "the frequencies of the classes in training"
    if usual is None:  # a run of an older version, or a class that training had no row of
        usual, guess = math.log(len(summary.data.classes)), "an even guess among the classes"
    worse = metrics.nll > usual
    return Finding(
        "bad" if worse else "fact",
        f"On {rows} it is right on {percent(metrics.accuracy)}, and its NLL is {number(metrics.nll)} nats an example, "
        f"{'worse' if worse else 'better'} than {guess} ({number(usual)}).",
    )


def _numbers(rows: str, metrics: Metrics) -> Finding:
    if metrics.nll is None or metrics.rmse is None:
        return Finding("bad", f"On {rows} the NLL or the error is not a finite number: training has failed.")
    held = f", and {percent(metrics.coverage_90)} of them lie in the interval that should hold 90\N{NO-BREAK SPACE}%"
    usual = ""
    if metrics.constant_rmse is not None:
        usual = (
            f" Always answering the training rows' mean is off by {measure(metrics.constant_rmse)} (root mean square), "
            f"their median by {measure(metrics.constant_mae)} (mean)."
        )
    worse = metrics.constant_rmse is not None and metrics.rmse > metrics.constant_rmse
    return Finding(
        "bad" if worse else "fact",
        f"On {rows} it is off by {measure(metrics.rmse)} (root mean square) and {measure(metrics.mae)} (mean), its NLL "
        f"is {number(metrics.nll)} nats an example{'' if metrics.coverage_90 is None else held}.{usual}",
    )


def _labels(rows: str, metrics: Metrics) -> Finding:
    if metrics.nll is None or metrics.accuracy is None or metrics.exact_match is None:
        return Finding("bad", f"On {rows} the NLL or the accuracy is not a finite number: training has failed.")
    return Finding(
        "fact",
        f"On {rows} it is right on {percent(metrics.accuracy)} of the single labels and on all labels of "
        f"{percent(metrics.exact_match)} of the rows; its NLL is {number(metrics.nll)} nats an example.",
    )


def _most_frequent(summary: Summary, metrics: Metrics) -> Finding | None:
    """Accuracy against always giving the commonest class, where the confusion matrix is of the same rows."""
    if metrics.labels:
        return _usual_labels(metrics)
    totals = [sum(row) for row in summary.details.confusion] if summary.details else []
    if not metrics.rows or sum(totals) != metrics.rows or metrics.accuracy is None:
        return None
    share = max(totals) / metrics.rows
    told = f"Always answering the most frequent class would be right on {percent(share)}"
    if metrics.accuracy > share:
        return Finding("fact", f"{told}.")
    return Finding("bad", f"{told}, so the labels that the model gives are worth nothing yet.")


def _never_predicted(metrics: Metrics) -> Finding | None:
    """Classes that rows have and no row is given: of few rows, most often."""
    missed = [each for each in metrics.classes if each.rows and each.precision is None]
    if not missed:
        return None
    named = [f"{short(each.name, 40)} ({count(each.rows, 'row')})" for each in missed[:MOST_NAMED]]
    more = f", {len(missed) - MOST_NAMED} more" if len(missed) > MOST_NAMED else ""
    return Finding(
        "bad",
        f"Never given as an answer, of {count(len(metrics.classes), 'class', 'classes')}: {', '.join(named)}{more}; "
        "--class-weight balanced weighs all classes alike, and more epochs may do.",
    )


def _usual_labels(metrics: Metrics) -> Finding | None:
    """Accuracy against giving each label the value that most rows have."""
    shares = [label.share for label in metrics.labels if label.share is not None]
    if not shares or metrics.accuracy is None:
        return None
    usual = sum(max(share, 1 - share) for share in shares) / len(shares)
    told = f"Always giving each label its more frequent value would be right on {percent(usual)}"
    if metrics.accuracy > usual:
        return Finding("fact", f"{told}.")
    return Finding("bad", f"{told}, so the labels that the model gives are worth nothing yet.")


def _telling(summary: Summary) -> Finding | None:
    """Columns that give the answer away."""
    if not (columns := summary.data.telling):
        return None
    named = f"The column {short(columns[0], 60)} alone tells"
    if len(columns) > 1:
        named = f"Each of the columns {listed([short(name, 60) for name in columns])} alone tells"
    return Finding("bad", f"{named} the target of nearly every row: is that known before the answer is?")


def _seen(summary: Summary) -> Finding | None:
    """Test rows that were trained on."""
    seen, rows = summary.data.test_rows_seen, summary.data.test_rows
    if not seen or seen < SEEN * rows:
        return None
    return Finding("bad", f"{seen:,} of the {count(rows, 'test row')} equal rows that were trained on, and flatter it.")


def _untested(summary: Summary) -> Finding | None:
    if summary.test is not None:
        return None
    return Finding("fact", "There were no test rows. The validation rows chose the epoch, so their numbers flatter.")


def _single(summary: Summary, metrics: Metrics) -> Finding:
    return Finding("fact", "With one expert there is nothing to choose: this is an ordinary model, a baseline.")


def _use(summary: Summary, metrics: Metrics) -> Finding | None:
    experts, dead = summary.model.experts, metrics.dead_experts
    if dead is None:
        return None
    if not dead:
        return Finding("good", f"All {experts} experts are in use.")
    told = f"{dead:.0f} of {experts} experts {'is' if dead == 1 else 'are'} dead"
    return Finding("bad", f"{told}: the gate's first choice on hardly any row.")


def _collapse(summary: Summary, metrics: Metrics) -> Finding | None:
    experts, effective = summary.model.experts, metrics.effective_experts
    if effective is None:
        return None
    spread = f"over all rows its weight is spread over {number(effective, 1)} of {experts} experts"
    if effective < COLLAPSED:
        return Finding("bad", f"The gate has collapsed: {spread}.")
    if effective < experts / 2:
        return Finding("fact", f"The gate has not collapsed, but it is narrow: {spread}.")
    return Finding("good", f"The gate has not collapsed: {spread}.")


def _choice(summary: Summary, metrics: Metrics) -> Finding | None:
    information = metrics.mutual_information
    if information is None:
        return None
    most = number(math.log(summary.model.experts), 2)
    told = f"(mutual information {number(information)} of at most {most} nats)"
    if information < STILL:
        return Finding("bad", f"The gate has stopped choosing: it gives every row the same mixture {told}.")
    return Finding("good", f"The gate chooses: which expert answers depends on the row {told}.")


def _top1(summary: Summary, metrics: Metrics) -> Finding | None:
    if metrics.nll is None or metrics.nll_top1 is None:
        return None
    loss = metrics.nll_top1 - metrics.nll
    if abs(loss) < SAME_NLL:
        return Finding(
            "good", f"Top-1 is as good as the mixture (NLL {number(metrics.nll_top1)}): one expert a row is enough."
        )
    if loss < 0:
        return Finding(
            "fact", f"Top-1 is better than the mixture by {number(-loss)} nats: let one expert a row answer."
        )
    return Finding("fact", f"Top-1 is worse than the mixture by {number(loss)} nats: let all experts answer.")


def _gap(summary: Summary, metrics: Metrics) -> Finding | None:
    gap = metrics.bound_gap
    if gap is None:
        return None
    below = f"it lies {number(gap)} nats below the log-likelihood"
    if gap < LOOSE:
        return Finding("good", f"The Jensen bound is tight: {below}.")
    # for any other objective the gap is a property of the mixture, not a fault
    if summary.model.objective != "jensen":
        return Finding("fact", f"The Jensen bound is loose: {below}. It is not what was trained, so nothing is lost.")
    return Finding("bad", f"The Jensen bound that was trained is loose: {below}.")
