"""The parts of a report page, and how they become one HTML file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msakit.core.atomic import write_text_atomically
from msakit.core.errors import MissingExtraError
from msakit.reports.figures import Figure
from msakit.reports.mistakes import Mistake

_TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts; the first column is left-aligned."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with what belongs below it; one without content is left out."""

    title: str
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    mistakes: Sequence[Mistake] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page.

    Attributes:
        title: The run's or study's name.
        subtitle: Corpus, split, number of samples.
        tiles: Heading, value and small print of the numbers to see first.
        warnings: What to know before reading on.
        sections: The content.
        details: Summary and text of what is folded away.
    """

    title: str
    subtitle: str
    tiles: Sequence[tuple[str, str, str]] = ()
    warnings: Sequence[str] = ()
    sections: Sequence[Section] = ()
    details: Sequence[tuple[str, str]] = field(default_factory=tuple)


def write_page(page: Page, output: Path) -> None:
    """Write a page as one HTML file that fetches nothing, replacing it in one step.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise MissingExtraError("The report", "jinja2", "report") from error
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["image"] = _image
    text = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(page=page)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(output, text)


def _image(svg: str) -> str:
    """A drawing as the source of an <img>: its ids and styles cannot meet those of the others."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode('ascii')}"
