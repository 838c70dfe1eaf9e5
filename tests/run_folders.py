"""Run folders made by hand, for tests of what reads them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ERC_NAMES = ("neutral", "joy", "anger")


def write_run(
    folder: Path,
    predictions: Sequence[object],
    labels: Sequence[object],
    *,
    ids: Sequence[str] | None = None,
    columns: Mapping[str, Sequence[object]] | None = None,
    split: str = "test",
    history: Iterable[Mapping[str, Any]] = (),
    **record: Any,
) -> Path:
    """A run with the predictions of one split; `record` goes into metrics.json."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"dataset": "mosei", "family": "mosei", "seed": 1} | record
    (folder / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    ids = ids or [f"clip{index}" for index in range(len(labels))]
    table = {"id": ids, "label": labels, "prediction": predictions, **(columns or {})}
    with (folder / f"predictions.{split}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    lines = [json.dumps(entry) for entry in history]
    (folder / "history.jsonl").write_text("\n".join(lines) + "\n" * bool(lines), encoding="utf-8")
    return folder
