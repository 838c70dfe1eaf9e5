"""What the page shows of an answer, as HTML. All text from the run or the user is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from msakit.workflows.predict import NO_TEXT

if TYPE_CHECKING:
    from msakit.reports.figures import Figure
    from msakit.workflows.responses import Response

FEW = 12
"""So many answers get a bar with a name each; more of them, as scores are, one histogram."""


def answer_page(
    response: Response, without: Mapping[str, Response], label_range: tuple[float, float] | None
) -> str:
    """One answer, its distribution, and what it rests on.

    Args:
        response: The answer.
        without: Stream to the answer with it left out; may be empty.
        label_range: Lowest and highest score; None for classes.
    """
    parts, chances = [_headline(response)], list(response.probabilities.items())
    if chances:
        drawn = _few(chances) if len(chances) <= FEW else _many(chances)
        parts += ["<h3>How probable each answer is</h3>", drawn]
    if without:
        rest = "The answer with one of them left out. The further it moves, the more rests on it."
        parts += ["<h3>What it rests on</h3>", f'<p class="quiet">{rest}</p>']
        parts += _contributions(response, without, label_range)
    return _page(parts)


def figures_page(heading: str, figures: Sequence[Figure]) -> str:
    """Drawings side by side; nothing where there are none."""
    if not figures:
        return ""
    drawn = "".join(_picture(figure, figure.title or heading) for figure in figures)
    return _page([f'<h3>{escape(heading)}</h3><div class="figures">{drawn}</div>'])


def problem_page(message: str, hint: str | None = None) -> str:
    """What went wrong, and what to do about it."""
    lines = "".join(f"<p>{escape(line)}</p>" for line in (message, hint) if line)
    return _page([f'<div class="box" role="alert">{lines}</div>'])


def empty_page() -> str:
    """What stands where an answer will be."""
    return _page(['<p class="quiet">Give a clip, a transcript or both, and the answer is shown here.</p>'])


def introduction_page(title: str, facts: Iterable[str], caution: str) -> str:
    """What the run is, above everything else."""
    lines = [f"<h2>{escape(title)}</h2>", *(f'<p class="quiet">{escape(fact)}</p>' for fact in facts)]
    return _page([*lines, f'<div class="box">{escape(caution)}</div>' if caution else ""])


def _page(parts: Iterable[str]) -> str:
    return f'<div class="msakit">{"".join(parts)}</div>'


def _headline(response: Response) -> str:
    answer = "no answer" if response.prediction is None else _shown(response.prediction)
    words = [response.label] if response.label and response.label != answer else []
    if response.positive is not None:
        words.append(f"probability of positive: {response.positive:.0%}")
    if response.generated is not None:
        words.append(f"generated: {response.generated}")
    notes = [f"Answered without {', '.join(response.absent)}."] if response.absent else []
    notes += [note for note in response.notes if not note.startswith(NO_TEXT)]  # said already
    lines = "".join(f'<p class="quiet">{escape(note)}</p>' for note in notes)
    return f'<div class="value">{escape(answer)}</div><p>{escape("; ".join(words))}</p>{lines}'


def _shown(prediction: float | str) -> str:
    return prediction if isinstance(prediction, str) else f"{prediction:+.2f}"


def _few(chances: Sequence[tuple[str, float]]) -> str:
    best = max(chance for _, chance in chances)
    return "".join(
        f'<div class="row"><span>{escape(name)}</span><div class="track">'
        f'<div class="{"top" if chance == best else "bar"}" style="width:{chance:.1%}"></div></div>'
        f"<span>{chance:.1%}</span></div>"
        for name, chance in chances
    )


def _many(chances: Sequence[tuple[str, float]]) -> str:
    """One bar an answer on a scale from the first to the last of them."""
    width, height, best = 10 * len(chances), 110, max(chance for _, chance in chances)
    bars = "".join(
        f'<rect x="{10 * at + 1}" y="{height - tall:.1f}" width="8" height="{tall:.1f}" '
        f'class="{"top" if chance == best else "bar"}"><title>{escape(name)}: {chance:.1%}</title></rect>'
        for at, (name, chance) in enumerate(chances)
        for tall in [max(1.0, chance / best * height)]
    )
    places = [(0, "start"), (len(chances) // 2, "middle"), (len(chances) - 1, "end")]
    labels = "".join(
        f'<text x="{(10 * at + 5) if anchor == "middle" else (width if at else 0)}" y="{height + 16}" '
        f'text-anchor="{anchor}">{escape(chances[at][0])}</text>'
        for at, anchor in places
    )
    name = f"Probabilities of {len(chances)} answers"
    return f'<svg viewBox="0 0 {width} {height + 20}" role="img" aria-label="{name}">{bars}{labels}</svg>'


def _contributions(
    whole: Response, without: Mapping[str, Response], label_range: tuple[float, float] | None
) -> list[str]:
    rows = [("everything", whole), *((f"no {name}", response) for name, response in without.items())]
    return [
        f'<div class="row"><span>{escape(name)}</span>{_place(response, whole, label_range)}'
        f"<span>{escape(_in_short(response))}</span></div>"
        for name, response in rows
    ]


def _in_short(response: Response) -> str:
    return "no answer" if response.prediction is None else _shown(response.prediction)


def _place(response: Response, whole: Response, label_range: tuple[float, float] | None) -> str:
    """A score on its scale, beside that of the whole; of classes, how probable the whole's is."""
    if label_range is None:
        chance = response.probabilities.get(str(whole.prediction), 0.0)
        return f'<div class="track"><div class="top" style="width:{chance:.1%}"></div></div>'
    dots = [
        f'<i class="{kind}" style="left:{_share(each.prediction, label_range):.1%}"></i>'
        for kind, each in (("bar", whole), ("top", response))
        if isinstance(each.prediction, float)
    ]
    return f'<div class="scale">{"".join(dots)}</div>'


def _share(score: float, label_range: tuple[float, float]) -> float:
    low, high = label_range
    return min(1.0, max(0.0, (score - low) / (high - low)))


def _picture(figure: Figure, name: str) -> str:
    encoded = base64.b64encode(figure.svg.encode()).decode("ascii")
    caption = f"<figcaption>{escape(figure.title)}</figcaption>" if figure.title else ""
    return f'<figure>{caption}<img alt="{escape(name)}" src="data:image/svg+xml;base64,{encoded}"></figure>'
