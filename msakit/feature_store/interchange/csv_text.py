"""CSV text as rows that are all as long as the first, each with the line it begins on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

QUOTING_HINT = (
    "Put texts with separators, quotes or line breaks in double quotes; write a quote inside as two."
)
_UNCLOSED = "unexpected end of data"


class CsvProblem(ValueError):
    """A table that cannot be read; `line` is where the row at fault begins."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


def read_csv_rows(text: str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    r"""Rows with the line each begins on, the header first; blank lines are left out.

    Lines end at \n, \r or \r\n alone: a form feed or U+2028 inside a text is part of it.

    Raises:
        CsvProblem: A quote is never closed, or a row is shorter or longer than the header.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    width = 0
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            reason = "a quote is opened and never closed" if str(error) == _UNCLOSED else str(error)
            raise CsvProblem(line, reason) from error
        if row is None:
            return
        width = width or len(row)
        if row and len(row) != width:
            raise CsvProblem(line, f"{len(row)} cells, but the header has {width}")
        if row:
            yield line, row


def read_csv_records(
    text: str, delimiter: str = ","
) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """The header, and the rows below it by column name, each with the line it begins on.

    Raises:
        CsvProblem: See `read_csv_rows`; or a column name stands in the header twice.
    """
    rows = read_csv_rows(text, delimiter)
    line, header = next(rows, (1, []))
    repeated = next((name for name in header if header.count(name) > 1), None)
    if repeated is not None:
        raise CsvProblem(line, f"the column '{repeated[:40]}' stands there twice")
    return header, ((start, dict(zip(header, row, strict=True))) for start, row in rows)
