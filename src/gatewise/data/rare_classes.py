"""Classes with too few rows to be in every part of a split: left out, or made one class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from gatewise.data.labels import Classes
from gatewise.data.records import Records
from gatewise.errors import GatewiseError
from gatewise.wording import shown

MERGED = "other"
"""The class that rare classes become."""
Rule = Literal["error", "drop", "merge"]


def rare_classes(labels: np.ndarray, parts: int) -> dict[str, int]:
    """The classes among labels `[N]` that have fewer rows than there are parts, with their rows."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    return {str(name): int(count) for name, count in zip(names, counts, strict=True) if count < parts}


def said_of_rare(rare: Mapping[str, int], limit: int = 10) -> str:
    """The classes with their rows, and the first ones alone where there are many."""
    named = ", ".join(f"{shown(name)} ({count} row{'s' * (count > 1)})" for name, count in list(rare.items())[:limit])
    return named + (f", … ({len(rare)} in all)" if len(rare) > limit else "")


def without_rare(records: Records, rule: Rule, parts: int) -> tuple[Records, str | None]:
    """The rows as a rule for rare classes leaves them, and a sentence on what became of them.

    Args:
        records: rows with one label each.
        rule: "error", "drop" leaves the rows out, "merge" gives them the class `MERGED`.
        parts: that a split makes; a class needs a row for each.

    Raises:
        GatewiseError: for rare classes by the rule "error", and where those that are merged are still too few.
    """
    rare = rare_classes(records.known_labels(), parts)
    if not rare:
        return records, None
    few = f"{len(rare)} of the classes have" if len(rare) > 1 else "a class has"
    said = f"{few} fewer than {parts} rows: {said_of_rare(rare)}"
    if rule == "error":
        raise GatewiseError(
            f"{records.name}: {said}, too few to be in every part of a split; add rows, or leave them out with --set "
            "rare_classes=drop, or make them one class with --set rare_classes=merge"
        )
    if rule == "drop":
        kept = ~np.isin(records.known_labels().astype(str), list(rare))
        return records.take(kept.nonzero()[0]), f"{said[0].upper()}{said[1:]}; these rows are left out."
    labels = records.known_labels()
    merged = replace(records, labels=np.where(np.isin(labels.astype(str), list(rare)), MERGED, labels).astype(object))
    if still := rare_classes(merged.known_labels(), parts):
        raise GatewiseError(
            f"{records.name}: {said}, and merged they are {still[MERGED]}, still too few; leave them out with --set "
            "rare_classes=drop"
        )
    return merged, f"{said[0].upper()}{said[1:]}; they are one class, {shown(MERGED)}."


def like_trained(records: Records, classes: Sequence[str], rule: Rule) -> Records:
    """Further rows as the rule left those trained on: without labels that are no class, or with `MERGED` for them."""
    labels = records.known_labels()
    known = Classes(tuple(classes)).find(labels) >= 0
    if rule == "drop":
        return records.take(known.nonzero()[0])
    return replace(records, labels=np.where(known, labels, MERGED).astype(object))
