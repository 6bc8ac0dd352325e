"""Cells of CSV files that no spreadsheet takes for a formula: names come from anybody."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

__all__ = ["safe_cells"]


def safe_cells(values: Iterable[object]) -> list[object]:
    """A row for `csv.writer`: text that would be a formula gets an apostrophe before it.

    That is text beginning with ``=``, ``+``, ``-``, ``@``, a tab or a line's end, unless it is a
    number. Everything else, numbers above all, stays as it is.

    References
    ----------
    OWASP, "CSV injection".

    Examples
    --------
    >>> safe_cells(["membrane", "=HYPERLINK(0)", "-2.5", -2.5, None])
    ['membrane', "'=HYPERLINK(0)", '-2.5', -2.5, None]
    """
    return [f"'{value}" if _is_formula(value) else value for value in values]


def _is_formula(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return False
    with suppress(ValueError):
        float(value)
        return False
    return True
