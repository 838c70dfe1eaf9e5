"""One answer for a whole recording, from the answers of its segments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from msakit.runs.predictions import LIKELIEST
from msakit.workflows.responses import Response, in_words


def answer_for_whole(recording: str, segments: Sequence[Response]) -> Response:
    """The mean of the segments' answers, each weighted by its length; those without one are left out.

    A score is the mean of the scores. A class is the likeliest by the mean of the probabilities; where text
    was generated, the one that holds for the longest time.
    """
    answered = [each for each in segments if each.prediction is not None]
    if not answered:
        reason = segments[0].error or "unreadable answers"
        return Response(recording, error=f"no segment could be answered: {reason}", notes=_notes(segments))
    weights = np.array([_length(each) for each in answered]) / sum(map(_length, answered))
    probabilities: dict[str, float] = {}
    for weight, each in zip(weights, answered, strict=True):
        for name, chance in each.probabilities.items():
            probabilities[name] = probabilities.get(name, 0.0) + float(weight) * chance
    prediction = _prediction(answered, weights, probabilities)
    positives = [each.positive for each in answered if each.positive is not None]
    return Response(
        recording,
        prediction=prediction,
        label=in_words(prediction),
        positive=float(np.average(positives, weights=weights)) if len(positives) == len(answered) else None,
        likeliest=sorted(probabilities.items(), key=lambda pair: -pair[1])[:LIKELIEST],
        absent=[name for name in answered[0].absent if all(name in each.absent for each in answered)],
        text=" ".join(each.text for each in segments if each.text),
        text_by=next((each.text_by for each in segments if each.text_by), ""),
        notes=_notes(segments),
        start_s=segments[0].start_s,
        end_s=segments[-1].end_s,
        probabilities=probabilities,
    )


def _length(segment: Response) -> float:
    return (segment.end_s or 0.0) - (segment.start_s or 0.0)


def _prediction(
    answered: Sequence[Response], weights: NDArray[np.float64], probabilities: dict[str, float]
) -> float | str:
    values = [each.prediction for each in answered]
    if not isinstance(values[0], str):
        return round(float(np.average(np.array(values, np.float64), weights=weights)), 4)
    if probabilities:
        return max(probabilities, key=probabilities.__getitem__)
    votes: Counter[str] = Counter()
    for value, weight in zip(values, weights, strict=True):
        votes[str(value)] += weight
    return votes.most_common(1)[0][0]


def _notes(segments: Sequence[Response]) -> list[str]:
    """The segments' notes, those that differ in numbers alone told once, with how many they are."""
    groups: dict[str, list[str]] = {}
    for each in segments:
        for note in [*each.notes, *(["it could not be answered"] if each.error else [])]:
            groups.setdefault(re.sub(r"\d+", "0", note), []).append(note)
    alike = {notes[0]: ", or the like" if len({*notes}) > 1 else "" for notes in groups.values()}
    return [
        f"{notes[0]}{alike[notes[0]]} ({len(notes)} of {len(segments)} segments)" for notes in groups.values()
    ]
