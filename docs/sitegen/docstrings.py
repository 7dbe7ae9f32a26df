"""Docstrings as the repository writes them, as Markdown."""

import re
from functools import cache

from sitegen.public import entries

SECTIONS = ("Args", "Attributes", "Raises", "Returns", "Yields")


def markdown(doc: str) -> str:
    """A docstring in Google's form as Markdown without headings: sections become lists, and names links."""
    blocks = [_block(block) for block in doc.strip().split("\n\n")]
    return "\n\n".join(blocks)


def _block(block: str) -> str:
    first, _, rest = block.partition("\n")
    if first.rstrip(":") in SECTIONS and first.endswith(":") and rest.startswith("    "):
        return f"**{first}**\n\n{_items(rest, first.rstrip(':') == 'Returns')}"
    if block.startswith(">>>"):
        return f"```pycon\n{block}\n```"
    if block.startswith("    "):
        return block  # Markdown's own way to show code
    return linked(block)


def _items(text: str, plain: bool) -> str:
    """The entries of a section, `name: what it is`, which go on where a line is indented deeper."""
    items: list[str] = []
    for line in text.splitlines():
        if re.match(r" {4}\S", line) and not (plain and items):
            items.append(line.strip())
        elif items:
            items[-1] += " " + line.strip()
    return "\n".join(f"- {linked(_named(item, plain))}" for item in items)


def _named(item: str, plain: bool) -> str:
    name, colon, rest = item.partition(": ")
    return f"`{name}`: {rest}" if colon and not plain and re.fullmatch(r"[\w*, .]+", name) else item


@cache
def _links() -> dict[str, str]:
    """What a docstring may call a public name, and where that is described; a short name only if one has it."""
    targets: dict[str, set[str]] = {}
    for entry in entries():
        for called in (entry.full, entry.full.replace("gatewise", "gw", 1), entry.name):
            targets.setdefault(called, set()).add(entry.home)
    # a lower-case word alone is as likely an argument as a function
    clear = {called for called in targets if "." in called or not called.islower()}
    return {called: next(iter(found)) for called, found in targets.items() if len(found) == 1 and called in clear}


def linked(text: str) -> str:
    """`` `Name` `` as a link to where the public Name is described, outside of code blocks."""

    def link(match: re.Match[str]) -> str:
        target = _links().get(match[1])
        return f"{{py:obj}}`{match[1]} <{target}>`" if target else match[0]

    return re.sub(r"(?<![`}])`([\w.]+)`(?!`)", link, text)
