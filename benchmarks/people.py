"""Measure on people: EmoDB (voices), MELD (dialogues) and CMU-MOSI (text, voice, face).

python benchmarks/people.py emodb --data DATA --work runs/people       # store, scikit-learn, training, table
python benchmarks/people.py meld --data DATA --work runs/people --limit 220   # 220 dialogues of training
python benchmarks/people.py mosi --work runs/people --steps table --check     # is the record what is there?

DATA (or the environment variable MSAKIT_DATA) holds emodb/, meld/ and mosi/; docs/people.md says where to get
them. Finished runs are kept, so an interrupted measurement goes on where it stopped. Nothing but metrics and
checksums of predictions is written into the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from people.corpora import CORPORA, Corpus, msakit
from people.results import differing, find_measured, markdown, record
from people.systems import EMOTIONS, classical_systems
from tables import insert

from msakit.runs.predictions import to_csv

HERE = Path(__file__).resolve().parent
STEPS = ("prepare", "classical", "train", "table")


def prepare(corpus: Corpus, data: Path, folder: Path, limit: int | None) -> None:
    """Fill the store, unless it is there."""
    store = folder / "store"
    if not store.exists():
        corpus.prepare(data / corpus.name, store, limit)


def classical(corpus: Corpus, folder: Path) -> None:
    """Predictions of every scikit-learn system, of every fold."""
    for fold in corpus.datasets:
        for name, predictions in classical_systems(corpus.name, folder / "store", fold):
            target = folder / fold / name / "classical"
            target.mkdir(parents=True, exist_ok=True)
            (target / "predictions.test.csv").write_text(to_csv(predictions), encoding="utf-8")


def train(corpus: Corpus, folder: Path) -> None:
    """The corpus' study, once a fold."""
    text = (HERE / "people" / f"{corpus.name}.yaml").read_text(encoding="utf-8")
    for fold in corpus.datasets:
        study = folder / f"{fold}.yaml"
        study.write_text(text.replace("{fold}", fold), encoding="utf-8")
        msakit("sweep", study, "--store", folder / "store", "--output", folder / fold)


def table(corpus: Corpus, folder: Path, *, check: bool) -> int:
    """Write the table into the page and the record beside it; or compare what is there with the record."""
    names = EMOTIONS.get(corpus.name, ())
    found = record(corpus, find_measured(corpus, folder), names)
    path = HERE / "results" / f"people_{corpus.name}.json"
    if check:
        problems = differing(json.loads(path.read_text(encoding="utf-8")), found)
        print("\n".join(problems) or f"{path.name}: every figure and checksum is the same", file=sys.stderr)
        return 1 if problems else 0
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(markdown(corpus, found))
    insert("docs/people.md", f"people_{corpus.name}", markdown(corpus, found))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", choices=[*CORPORA])
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("MSAKIT_DATA"), help="folder of the corpora"
    )
    parser.add_argument("--work", type=Path, required=True, help="where store and runs are kept")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--limit", type=int, help="MELD: how many dialogues of the training split")
    parser.add_argument("--check", action="store_true", help="compare with the record instead of writing it")
    arguments = parser.parse_args()
    corpus, folder = CORPORA[arguments.corpus], (arguments.work / arguments.corpus).resolve()
    if "prepare" in arguments.steps and arguments.data is None:
        print("Skipped: --data or MSAKIT_DATA must name the corpora's folder; docs/people.md describes it.")
        return 0
    if "prepare" in arguments.steps:
        prepare(corpus, Path(arguments.data).resolve(), folder, arguments.limit)
    if "classical" in arguments.steps:
        classical(corpus, folder)
    if "train" in arguments.steps:
        train(corpus, folder)
    return table(corpus, folder, check=arguments.check) if "table" in arguments.steps else 0


if __name__ == "__main__":
    sys.exit(main())
