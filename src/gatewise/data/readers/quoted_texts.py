"""CSV files that quote every text, as R writes them: what stands there as NA without quotes is no text but a gap."""

import re
from collections.abc import Iterable, Iterator

GAP = "NA"


def without_bare_gaps(lines: Iterable[str], separator: str) -> Iterator[str]:
    """The lines of a file, from its header on, with nothing where NA stands without quotes, if the header is quoted.

    R's `write.csv` quotes names and texts, and writes NA for what is missing in any column, so "NA" in quotes is
    Namibia. The lines of other files are as they were.
    """
    lines, mark = iter(lines), re.escape(separator)
    for first in lines:
        yield first
        if first.strip():
            break
    else:
        return
    if not re.fullmatch(rf'\s*"(?:[^"]|"")*"(?:\s*{mark}\s*"(?:[^"]|"")*")*\s*', first):
        yield from lines
        return
    # a field in quotes, which may not end on this line, or else a gap with the mark before it
    fields = re.compile(rf'"(?:[^"]|"")*(?:"|$)|(?<={mark}){GAP}(?=[{mark}\r\n]|$)')
    inside = False
    for line in lines:
        if GAP in line:
            head = '"' if inside else separator  # as if the field began here, or the line followed on another field
            found = fields.sub(lambda field: "" if field[0] == GAP else field[0], head + line)
            yield found[1:]
        else:
            yield line
        inside ^= line.count('"') % 2 == 1
