"""Text in CSV files that a spreadsheet would run as a formula."""

from __future__ import annotations

import re

# An id may begin with a minus (YouTube's do); it takes more to make a formula of it.
_FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-].*[|(!])", re.DOTALL)


def disarm(text: str) -> str:
    """The text as a cell that no spreadsheet runs: one that begins like a formula gets an apostrophe."""
    return f"'{text}" if _FORMULA.match(text) else text


def rearm(cell: str) -> str:
    """The text of a cell that `disarm` made."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
