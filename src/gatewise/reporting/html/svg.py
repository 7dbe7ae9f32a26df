"""Matplotlib drawings as SVG that lives inside a page: its colours, its font, its unique ids."""

import io
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:  # half a second that only drawing needs
    from matplotlib.figure import Figure

# Colours that stand for the page's CSS variables, so that one drawing serves light and dark.
FIRST, SECOND, INK, MUTED, GRID = (f"#0000f{number}" for number in range(1, 6))
VARIABLES = {FIRST: "--first", SECOND: "--second", INK: "--ink", MUTED: "--muted", GRID: "--grid"}
VARIABLES |= {f"#0000e{number}": f"--series-{number}" for number in range(1, 9)}
SERIES = tuple(VARIABLES)[-8:]  # as many colours as can be told apart

STYLE = {
    "svg.fonttype": "none",  # text stays text: the page's font, searchable, in any script
    "svg.hashsalt": "gatewise",  # the same run gives the same bytes
    "text.parse_math": False,  # a label may hold a dollar sign
    "font.sans-serif": ["DejaVu Sans"],  # for the measures only: the page names the font
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
}


def draw(name: str, label: str, width: float, height: float, paint: "Callable[[Figure], None]") -> Markup:
    """The figure that `paint` fills, as an inline SVG of `width` × `height` CSS pixels.

    Args:
        name: unique in the page; the ids inside begin with it.
        label: what is seen, for those who do not see it.
        width: the page may shrink it a little, and scrolls it beyond that.
        height: likewise.
        paint: draws on an empty figure.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        # the browser's fonts draw the text, not matplotlib's
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        paint(figure)
        figure.savefig(buffer, format="svg", transparent=True)
    return Markup(_inline(buffer.getvalue(), name, label, width))


def _inline(text: str, name: str, label: str, width: float) -> str:
    """The drawing without what only a file needs: header, metadata, namespaces, its own style sheet."""
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): _themed(value, name) for key, value in element.attrib.items()}
        if "id" in element.attrib:
            element.set("id", f"{name}-{element.attrib['id']}")
    view = root.attrib["viewBox"]
    root.attrib = {
        "viewBox": view,
        "role": "img",
        "aria-label": label,
        "style": f"width: {width:.0f}px; min-width: {0.85 * width:.0f}px",  # below that the text is too small
    }
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _themed(value: str, name: str) -> str:
    """An attribute with the page's colours for ours, and references that follow the renamed ids."""
    value = re.sub(r"#0000f[1-5]|#0000e[1-8]", lambda match: f"var({VARIABLES[match[0]]})", value)
    return re.sub(r"^#|(?<=url\()#", f"#{name}-", value)
