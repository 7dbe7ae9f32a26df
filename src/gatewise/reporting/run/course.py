"""What was special about the course of a training, in words: its starts, and the experts that began anew."""

from collections.abc import Sequence

from gatewise.reporting.schemas.run import Reseeded, Summary
from gatewise.wording import setting, short

WARM = {"kmeans": "by clusters of the inputs (k-means)", "random": "by chance"}
MOST = 8
"""Experts that are told one by one."""


def course(summary: Summary) -> str:
    """Sentences on the start, the warm start and the experts that were re-seeded; empty where there is nothing."""
    told = [_started(summary), _starts(summary.starts), _warm(summary), _reseeded(summary.reseeded)]
    return " ".join(sentence for sentence in told if sentence)


def _started(summary: Summary) -> str:
    start = summary.config.get("start_from")
    return f"Training started from the weights of the run {short(setting(start), 200)}." if start else ""


def _starts(found: Sequence[float]) -> str:
    if len(found) < 2:
        return ""
    nlls = ", ".join(f"{nll:.3f}" for nll in found)
    return f"The best of {len(found)} starts went on: after a fifth of the epochs their validation NLLs were {nlls}."


def _warm(summary: Summary) -> str:
    how = WARM.get(str(summary.config.get("warm_start")))
    if how is None:
        return ""
    epochs, limit = summary.config.get("warm_start_epochs"), summary.config.get("epochs")
    if epochs is None and isinstance(limit, int):
        epochs = max(1, limit // 10)
    lasted = "the first tenth of the epochs"
    if isinstance(epochs, int):
        lasted = "the first epoch" if epochs == 1 else f"the first {epochs} epochs"
    return f"Warm start: for {lasted} each row's expert was given, {how}, and not chosen by the gate."


def _reseeded(reseeded: Sequence[Reseeded]) -> str:
    if not reseeded:
        return ""
    shown = "; ".join(
        f"expert {each.expert} after epoch {each.epoch}, as a copy of expert {each.donor}" for each in reseeded[:MOST]
    )
    more = f"; and {len(reseeded) - MOST} more" if len(reseeded) > MOST else ""
    times = "A dead expert was" if len(reseeded) == 1 else f"{len(reseeded)} times a dead expert was"
    return f"{times} re-seeded with a little noise: {shown}{more}."
