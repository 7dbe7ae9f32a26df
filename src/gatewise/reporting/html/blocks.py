"""Blocks of a section of the page. The template shows each by its `kind`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from gatewise.wording import Finding


@dataclass(frozen=True)
class Paragraph:
    """A sentence or two; `link` leads to more."""

    text: str
    link: "Link | None" = None
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Command:
    """Text to be typed as it stands."""

    text: str
    kind: ClassVar[str] = "command"


@dataclass(frozen=True)
class Link:
    """A cell that leads to another page; `href` is relative to this one and quoted for a URL."""

    text: str
    href: str


@dataclass(frozen=True)
class Noted:
    """A cell with a smaller line beneath it."""

    text: str
    note: str


@dataclass(frozen=True)
class TableRow:
    """A row of a table: its name, one cell for each column, and a phrase that explains the name."""

    name: str
    cells: Sequence[str | Link | Noted]
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table; `header` names the first column too. Numbers stand to the right, words to the left.

    `wide`: it has a row of the page to itself, and scrolls where that is too narrow.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[TableRow]
    numeric: bool = True
    wide: bool = False
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Picture:
    """An SVG that carries its own aria-label, and the caption beneath it."""

    svg: Markup
    title: str
    caption: str
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True)
class Findings:
    """Sentences of a verdict."""

    findings: Sequence[Finding]
    kind: ClassVar[str] = "findings"


@dataclass(frozen=True)
class Thumbnail:
    """A small PNG in base64, what it shows for those who do not see it, and the line beneath; `wrong`: a mistake."""

    png: str
    alt: str
    caption: str
    wrong: bool = False


@dataclass(frozen=True)
class Gallery:
    """Small pictures that belong together."""

    title: str
    note: str
    pictures: Sequence[Thumbnail]
    kind: ClassVar[str] = "gallery"


Single = Paragraph | Command | Table | Picture | Findings | Gallery


@dataclass(frozen=True)
class Stack:
    """Blocks below each other, beside a taller one."""

    blocks: Sequence[Single]
    kind: ClassVar[str] = "stack"


Block = Single | Stack


@dataclass(frozen=True)
class Section:
    """A heading with what belongs to it; pictures that follow each other share a row where there is room."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)
