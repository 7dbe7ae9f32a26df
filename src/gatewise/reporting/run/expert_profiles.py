"""The section on what is typical of each expert."""

from gatewise.reporting.html.blocks import Gallery, Paragraph, Section, Table, TableRow, Thumbnail
from gatewise.reporting.schemas.run import ExpertProfile, Image, Summary, Value
from gatewise.wording import number, percent, short

TITLE = "What is typical of each expert"
CAPTION, TOLD = 12, 60  # letters of a class beneath a picture, and for those who do not see it


def typical_section(summary: Summary) -> list[Section]:
    """The most typical pictures of each expert, or the values that stand out; nothing where the run has none."""
    typical = summary.typical
    if typical is None or summary.model.experts == 1 or not typical.experts:
        return []
    if any(expert.images for expert in typical.experts):
        return [Section(TITLE, [Paragraph(_of_images(summary)), *(_gallery(expert) for expert in typical.experts)])]
    if any(expert.values for expert in typical.experts):
        return [Section(TITLE, [Paragraph(_of_values(summary)), *(_table(expert) for expert in typical.experts)])]
    return [Section(TITLE, [Paragraph("Nothing stands out among the rows of any expert.")])]


def _of_images(summary: Summary) -> str:
    return (
        f"The {summary.judged[0]} rows that the gate gives most surely to each expert, with p(z|x) and the true class; "
        f"in red what the mixture gets wrong, and what it takes it for.{_left_out(summary)}"
    )


def _of_values(summary: Summary) -> str:
    return (
        f"Means over the {summary.judged[0]} rows weighted by the gate's p(z|x), against the means of all; of a "
        "category its share of the rows. Difference: in standard deviations of all rows, the largest first; what is "
        f"nearer than 0.1 is left out.{_left_out(summary)}"
    )


def _left_out(summary: Summary) -> str:
    shown, experts = len(summary.typical.experts) if summary.typical else 0, summary.model.experts
    return f" The {shown} experts of {experts} that have most weight." if shown < experts else ""


def _title(expert: ExpertProfile) -> str:
    return f"Expert {expert.expert}"


def _note(expert: ExpertProfile) -> str:
    return "" if expert.share is None else f"{percent(expert.share)} of the gate's weight"


def _gallery(expert: ExpertProfile) -> Gallery:
    return Gallery(_title(expert), _note(expert), [_thumbnail(expert, image) for image in expert.images])


def _thumbnail(expert: ExpertProfile, image: Image) -> Thumbnail:
    wrong = image.predicted != image.label
    true, guess = short(image.label, CAPTION), short(image.predicted, CAPTION)
    alt = f"A row of class {short(image.label, TOLD)}, given to expert {expert.expert} with probability "
    alt += number(image.probability, 2) + (f", and taken for {short(image.predicted, TOLD)}" if wrong else "")
    caption = f"{true}{f', not {guess}' if wrong else ''} · {number(image.probability, 2)}"
    return Thumbnail(image.png, alt, caption, wrong)


def _table(expert: ExpertProfile) -> Table | Paragraph:
    header = ["", "here", "all rows", "difference"]
    rows = [_row(value) for value in expert.values] or [TableRow("nothing stands out", ["", "", ""])]
    note = _note(expert)
    return Table(f"{_title(expert)}{f', {note}' if note else ''}", header, rows)


def _row(value: Value) -> TableRow:
    name, far = short(value.column, TOLD), number(value.deviations, 1)
    cells = [_rounded(each, _spread(value)) for each in (value.mean, value.overall)]
    if value.value is not None:
        name, cells = f"{name} = {short(value.value, TOLD)}", [percent(value.mean), percent(value.overall)]
    return TableRow(name, [*cells, far if far.startswith("−") or value.deviations is None else f"+{far}"])


def _spread(value: Value) -> float:
    """The standard deviation of all rows, as far as the three numbers tell it; else 0."""
    if value.mean is None or value.overall is None or not value.deviations:
        return 0.0
    return abs((value.mean - value.overall) / value.deviations)


def _rounded(value: float | None, spread: float) -> str:
    """Readable, whatever its size; what is small beside the column's `spread` is near 0, and no power of ten."""
    if value is None or value == 0 or 0.1 <= abs(value) < 1e6 or (abs(value) < 0.1 <= spread):
        return number(value, 0 if value is not None and abs(value) >= 1000 else 2)
    return f"{value:.2e}".replace("-", "−")
