"""What a section of the page is made of. The template shows each by its `kind`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup


@dataclass(frozen=True)
class Paragraph:
    """A sentence or two."""

    text: str
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
class Row:
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
    rows: Sequence[Row]
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


Block = Paragraph | Command | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading with what belongs to it; pictures that follow each other share a row where there is room."""

    title: str
    blocks: Sequence[Block] = field(default_factory=list)
