"""A run directory: everything needed to understand, repeat and use a training.

pipeline.yaml       the resolved pipeline: full names, every setting
adapter/            the best weights; lora/ in peft's own format where LoRA is used
checkpoint.json     which weights count, and where to resume from (checkpoint.py)
history.jsonl       one line a step and a validation
metrics.json        metrics of every evaluated split, baselines, parameters, timing
predictions.*.csv   every sample's label, prediction, probabilities, diagnostics
evaluations/        results under other conditions, each a folder of the same files
provenance.json     versions, seed, data hashes, hardware, git state
checkpoint/         optimiser and everything else a resumed training needs
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msakit.core.atomic import write_text_atomically
from msakit.core.errors import InputError
from msakit.core.files import dump_yaml, read_json, to_json
from msakit.runs.adapter_file import feature_widths
from msakit.runs.checkpoint import ADAPTER_FILE, LORA_FOLDER, read_commit
from msakit.runs.provenance import file_digest
from msakit.runs.record import RECORD_FILE, read_record
from msakit.runs.results import is_run, seed_folders

if TYPE_CHECKING:
    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.runs.record import RunRecord


class RunFinishedError(InputError):
    """The folder holds a run that was trained to its end."""


@dataclass(frozen=True)
class Run:
    """The files of one run.

    Attributes:
        folder: The run directory.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path, pipeline: dict[str, Any], *, resume: bool = False) -> Run:
        """Make a run directory for a resolved pipeline, or reopen an unfinished one to continue it.

        Args:
            folder: The run directory; held by `locked` meanwhile.
            pipeline: What is trained.
            resume: Reopen a finished run as well.

        Raises:
            InputError: The folder holds a finished run, the run of another pipeline, or the runs of several
                seeds; or it lies in a run.
        """
        run = cls(folder)
        text = dump_yaml(pipeline)
        if not run.pipeline_file.exists():
            _refuse_nesting(folder)
            folder.mkdir(parents=True, exist_ok=True)
            write_text_atomically(run.pipeline_file, text)
        elif run.is_finished and not resume:
            hint = "Give another folder with --output, or evaluate it again with --resume."
            raise RunFinishedError(f"{folder} already holds a run.", hint=hint)
        elif run.pipeline_file.read_text(encoding="utf-8") != text:
            raise InputError(
                f"{folder} already holds a run of another pipeline than this one.",
                hint="Continue it with the settings in its pipeline.yaml, or start a new run with --output.",
            )
        return run

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Open a finished run.

        Raises:
            InputError: The folder is not a run, or its training has saved nothing yet.
        """
        run = cls(folder)
        if not run.pipeline_file.is_file():
            hint = "A run is a folder that `msakit train` made."
            if seeds := [path.name for path in seed_folders(folder)]:
                hint = f"It holds the runs of several seeds; name one of them: {', '.join(seeds)}."
            raise InputError(f"{folder} is not a run: it has no pipeline.yaml.", hint=hint)
        if not run.adapter_file.is_file():
            hint = "The command that began its training goes on with it."
            raise InputError(f"{folder} has no trained weights yet.", hint=hint)
        return run

    @property
    def pipeline_file(self) -> Path:
        """The resolved pipeline."""
        return self.folder / "pipeline.yaml"

    @property
    def adapter_folder(self) -> Path:
        """The best weights so far; a folder that is not there where nothing was saved yet."""
        return self.folder / (read_commit(self.folder).weights or "adapter")

    @property
    def adapter_file(self) -> Path:
        """The adapter's tensors, feature scaling included."""
        return self.adapter_folder / ADAPTER_FILE

    @property
    def is_finished(self) -> bool:
        """Whether it was trained to its end and evaluated."""
        return (self.folder / "metrics.json").is_file()

    @property
    def is_started(self) -> bool:
        """Whether a training was begun here and not finished."""
        return self.pipeline_file.is_file() and not self.is_finished

    @property
    def history_file(self) -> Path:
        """One JSON object a line."""
        return self.folder / "history.jsonl"

    # Small files

    def write_json(self, name: str, content: dict[str, Any]) -> Path:
        """Write a JSON file into the run; undefined numbers (NaN) become null."""
        path = self.folder / name
        write_text_atomically(path, to_json(content) + "\n")
        return path

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the run; empty where there is none."""
        path = self.folder / name
        return read_json(path) if path.is_file() else {}

    def write_record(self, record: RunRecord) -> None:
        """Write metrics.json."""
        self.write_json(RECORD_FILE, record.model_dump(mode="json"))

    def read_record(self) -> RunRecord | None:
        """The content of metrics.json; None before the first evaluation."""
        path = self.folder / RECORD_FILE
        return read_record(path) if path.is_file() else None

    def append_history(self, record: dict[str, Any]) -> None:
        """Add one line to the history."""
        with self.history_file.open("a", encoding="utf-8") as file:
            file.write(to_json(record, indent=None) + "\n")

    def rewind_history(self) -> None:
        """Forget what was recorded after the last checkpoint, all of it where there is none."""
        if self.history_file.is_file():
            length = read_commit(self.folder).history_bytes
            if self.history_file.stat().st_size > length:
                os.truncate(self.history_file, length)

    def digests(self) -> dict[str, str]:
        """SHA-256 of the files that make predictions (settings, tensors), by their path in the run."""
        files = [self.pipeline_file, self.folder / "features.json"]
        files += sorted(path for path in self.adapter_folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): file_digest(path) for path in files}

    # Tensors

    def widths(self) -> dict[str, int]:
        """Modality to the feature width (D) the adapter was trained on, read from its feature scaling."""
        return feature_widths(self.adapter_file)

    def load_adapter(self, pipeline: Pipeline) -> None:
        """Put the trained tensors into a pipeline.

        Raises:
            InputError: The file is damaged, or does not belong to this pipeline.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state = load_file(self.adapter_file)
            pipeline.adapter.load_state_dict(state)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{self.adapter_file} is damaged: {error}") from error
        except RuntimeError as error:
            raise InputError(f"{self.adapter_file} does not fit {self.pipeline_file}: {error}") from error
        pipeline.backbone.load_adaptation(self.adapter_folder / LORA_FOLDER)


def _refuse_nesting(folder: Path) -> None:
    """A folder is a run or holds the runs of several seeds, never both: what reads it could not tell."""
    if seeds := [path.name for path in seed_folders(folder)]:
        hint = "Give another folder with --output, or train several seeds with --seeds."
        raise InputError(f"{folder} holds the runs of several seeds: {', '.join(seeds)}.", hint=hint)
    if is_run(folder.parent):
        hint = "Give another folder with --output."
        raise InputError(f"{folder.parent} is a run itself, so it cannot hold other runs.", hint=hint)
