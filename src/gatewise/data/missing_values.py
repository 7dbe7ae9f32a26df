"""Texts that stand for a missing value, unless the user says otherwise."""

MISSING = ("", "?")
"""In any column, and in the target."""
MISSING_NUMBERS = (
    *("NA", "N/A", "n/a", "na", "n.a.", "N.A.", "<NA>", "NaN", "nan", "NAN", "-nan", "-NaN"),
    *("null", "NULL", "Null", "(null)", "None", "none", "NONE", "NaT", r"\N", "-", "--", "–", "—", "."),
    *("#N/A", "#N/A N/A", "#NA", "#DIV/0!", "#NUM!", "#VALUE!", "#REF!", "#NAME?", "#NULL!"),
    *("1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
"""Besides, where a column is otherwise of numbers, and in the target: what R, pandas, Excel, SQL and SAS write."""
MAY_BE_CLASSES = frozenset({"None", "none", "NONE", "-", "--", "–", "—", "."})
"""Of these the ones that are classes in a target that is not of numbers, such as + and -."""
