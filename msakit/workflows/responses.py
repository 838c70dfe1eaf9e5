"""The answers of `predict`, and the files it writes them to."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.atomic import write_atomically
from msakit.core.errors import InputError, MissingExtraError
from msakit.core.files import to_json
from msakit.core.spreadsheet import disarm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from msakit.runs.predictions import Answer, Predictions

FORMATS = (".csv", ".jsonl", ".parquet")
_POSITIVE = "positive"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer for one sample with what a reader needs to judge it; or why there is none.

    Attributes:
        id: The clip or sample.
        prediction: The score, or the class name; None where there is none.
        label: The answer in words: the class, or negative, neutral or positive.
        positive: Probability of a positive answer; None where answers have no sign or text was generated.
        likeliest: The most probable answers with their probabilities, best first.
        probabilities: Every admissible answer's probability; empty where text was generated.
        generated: What was generated, when it was.
        absent: Streams the sample was predicted without.
        text: What is said in it.
        text_by: What wrote the text down; "" where it was given.
        notes: What makes the answer less reliable.
        error: Why there is no answer; "" where there is one.
        recording: The recording a segment was cut from; "" where the answer is for a whole clip.
        start_s: Where a segment begins in its recording, in seconds.
        end_s: Where it ends.
    """

    id: str
    prediction: float | str | None = None
    label: str = ""
    positive: float | None = None
    likeliest: list[tuple[str, float]] = field(default_factory=list)
    generated: str | None = None
    absent: list[str] = field(default_factory=list)
    text: str = ""
    text_by: str = ""
    notes: list[str] = field(default_factory=list)
    error: str = ""
    recording: str = ""
    start_s: float | None = None
    end_s: float | None = None
    probabilities: dict[str, float] = field(default_factory=dict)


_COLUMNS = [each.name for each in fields(Response) if each.name != "probabilities"]


def respond(found: Predictions, values: Sequence[float]) -> list[Response]:
    """Responses of a table of predictions.

    Args:
        found: The table.
        values: The score each answer stands for (regression).
    """
    chances = _positive_chances(found, values)
    return [
        _response(answer, chances[row], _distribution(found, row)) for row, answer in enumerate(found.rows())
    ]


def _response(answer: Answer, positive: float | None, probabilities: dict[str, float]) -> Response:
    label = in_words(answer.prediction)
    return Response(**asdict(answer), label=label, positive=positive, probabilities=probabilities)


def _distribution(found: Predictions, row: int) -> dict[str, float]:
    if found.probabilities is None:
        return {}
    return dict(zip(found.answers, found.probabilities[row].tolist(), strict=True))


def in_words(prediction: float | str | None) -> str:
    """An answer in words: a class by its name, a score by its sign."""
    if prediction is None or isinstance(prediction, str):
        return prediction or ""
    return "neutral" if prediction == 0 else _POSITIVE if prediction > 0 else "negative"


def _positive_chances(found: Predictions, values: Sequence[float]) -> list[float | None]:
    """Mass of the answers above zero, or of the class called positive."""
    if found.probabilities is None:
        return [None] * len(found)
    if found.label_names:
        chosen = np.array([name.lower() == _POSITIVE for name in found.answers])
    else:
        chosen = np.asarray(values) > 0
    if not chosen.any():
        return [None] * len(found)
    return [float(chance) for chance in found.probabilities[:, chosen].sum(axis=1)]


def check_format(path: Path) -> None:
    """Refuse a file that could not be written, before any work.

    Raises:
        InputError: Its ending names no format.
        MissingExtraError: What writes the format is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: answers are written as {', '.join(FORMATS)}.")
    if path.suffix.lower() == ".parquet":
        _import_pyarrow()


def write_responses(path: Path, responses: Sequence[Response]) -> None:
    """Write responses, one a row, whole or not at all; the ending names the format."""
    write = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}[path.suffix.lower()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: write(temporary, responses))


def _flat(response: Response) -> dict[str, Any]:
    """A row of a table: lists as text, and no whole distribution."""
    row = asdict(response)
    del row["probabilities"]
    row["likeliest"] = "; ".join(f"{name} {chance:.4f}" for name, chance in response.likeliest)
    prediction = response.prediction
    is_missing = prediction is None or (isinstance(prediction, float) and math.isnan(prediction))
    row["prediction"] = "" if is_missing else str(prediction)
    return row | {"absent": " ".join(response.absent), "notes": "; ".join(response.notes)}


def _write_csv(path: Path, responses: Sequence[Response]) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in map(_flat, responses):
        writer.writerow({key: disarm(cell) if isinstance(cell, str) else cell for key, cell in row.items()})
    path.write_text(buffer.getvalue(), encoding="utf-8", newline="")


def _write_jsonl(path: Path, responses: Sequence[Response]) -> None:
    lines = [to_json(asdict(response), indent=None) + "\n" for response in responses]
    path.write_text("".join(lines), encoding="utf-8")


def _write_parquet(path: Path, responses: Sequence[Response]) -> None:
    pyarrow, parquet = _import_pyarrow()
    kinds = dict.fromkeys(("positive", "start_s", "end_s"), pyarrow.float64())
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in _COLUMNS])
    table = pyarrow.Table.from_pylist([_flat(response) for response in responses], schema=schema)
    parquet.write_table(table, path)


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError("Writing .parquet", "pyarrow", "parquet") from error
    return pyarrow, pyarrow.parquet
