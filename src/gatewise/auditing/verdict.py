"""The verdict of an audit, in words."""

from collections.abc import Mapping
from typing import Any

from gatewise.estimators import setting_text
from gatewise.wording import Finding, count, percent

Row = Mapping[str, Any]

Audit = Mapping[str, Any]


def verdict(audit: Audit) -> list[Finding]:
    """What to use and why, whether what the model was trained with is right, and who is biased."""
    found = [_recommended(audit), *_own(audit), _biased(audit), _reversed(audit), *_fewer(audit)]
    return [finding for finding in found if finding is not None]


def choice(best: Mapping[str, Any]) -> str:
    """A recommendation's estimator with its options and samples."""
    return setting_text(best["estimator"], best["options"], best["num_samples"])


def _recommended(audit: Audit) -> Finding:
    best = audit["recommended"]
    if best["estimator"] is None:
        return Finding("bad", f"There is no estimator to use: {best['reason']}.")
    # the reason begins with the estimator; those written before it did do not
    said = best["reason"] if best["reason"].startswith(choice(best)) else f"{choice(best)}: {best['reason']}"
    return Finding("good", f"Use {said}.")


def _own(audit: Audit) -> list[Finding]:
    return [Finding(*_judged(row)) for row in audit["rows"] if row["own"]]


def _judged(row: Mapping[str, Any]) -> tuple[Any, str]:
    """Good or bad, and why, of the estimator that the model was trained with."""
    who = f"The estimator of this run, {name(row)},"
    spread = f"a single estimate is off by {percent(row['relative_mse'] ** 0.5)} of the gradient's length"
    if not row["biased"]:
        most = f"a bias above {percent(row['relative_bias_high'])} is ruled out"
        if row["unbiased"]:
            return "good", f"{who} shows no bias here, as it claims ({most}); {spread}."
        return "fact", f"{who} is not unbiased, but here its bias cannot be told from none ({most}); {spread}."
    interval = f"{percent(row['relative_bias_low'])} to {percent(row['relative_bias_high'])}"
    away = ", and points away from the gradient" if row["cosine"] < 0 else f" (cosine {row['cosine']:.2f})"
    return "bad", f"{who} is biased by {interval} of the gradient's length{away}; {spread}."


def _biased(audit: Audit) -> Finding:
    rows = audit["rows"]
    biased = [row for row in rows if row["biased"]]
    if not biased:
        return Finding("fact", f"No bias was found in {count(len(rows), 'setting')}.")
    worst = max(biased, key=lambda row: row["relative_bias"])
    return Finding(
        "fact",
        f"Biased beyond doubt: {len(biased)} of {count(len(rows), 'setting')}, the most {name(worst)}: "
        f"{percent(worst['relative_bias'])} of the gradient's length.",
    )


def _reversed(audit: Audit) -> Finding | None:
    """Estimators whose mean points away from the gradient beyond doubt."""
    away = [row for row in audit["rows"] if row["relative_scale_high"] < -1]
    if not away:
        return None
    return Finding("bad", f"Pointing away from the gradient on average: {', '.join(name(row) for row in away)}.")


def _fewer(audit: Audit) -> list[Finding]:
    """What to use where fewer evaluations are allowed."""
    fewer = [best for best in audit["by_evaluations"] if best["evaluations"] < audit["max_evaluations"]]
    what = "expert" if audit["mixture"] else "category"
    plural = "experts" if audit["mixture"] else "categories"
    return [
        Finding(
            "fact",
            f"With at most {count(best['evaluations'], what, plural)} an example: {choice(best)}"
            f"{_warned(audit['rows'][best['row']])}.",
        )
        for best in fewer
    ]


def _warned(row: Mapping[str, Any]) -> str:
    """What has to be said with the name of an estimator that is biased."""
    if not row["biased"]:
        return ""
    return f" (biased by {percent(row['relative_bias'])} of the gradient's length, cosine {row['cosine']:.2f})"


def name(row: Row) -> str:
    """A row's name in a picture or a sentence."""
    temperature = "" if row["temperature"] is None else f" λ={row['temperature']:.3g}"
    return f"{row['label']}{temperature}" + (f" S={row['num_samples']}" if row["num_samples"] > 1 else "")
