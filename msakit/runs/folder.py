"""A run directory: everything needed to understand, repeat and use a training.

pipeline.yaml       the resolved pipeline: full names, every setting
adapter/            adapter.safetensors and adapter.json; lora/ in peft's own format where LoRA is used
history.jsonl       one line a step and a validation
metrics.json        metrics of every evaluated split, baselines, parameters, timing
predictions.*.csv   every sample's label, prediction, probabilities, diagnostics
evaluations/        results under other conditions, each a folder of the same files
provenance.json     versions, seed, data hashes, hardware, git state
checkpoint.pt       where to resume from
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msakit.core.errors import InputError
from msakit.core.files import dump_yaml, read_json, to_json
from msakit.runs.adapter_file import feature_widths
from msakit.runs.record import RECORD_FILE, read_record
from msakit.runs.results import is_run, seed_folders

if TYPE_CHECKING:
    from collections.abc import Callable

    from msakit.core.pipeline.pipeline import Pipeline
    from msakit.runs.record import RunRecord

ADAPTER_FORMAT = "msakit.adapter"
ADAPTER_VERSION = "1"


@dataclass(frozen=True)
class Run:
    """The files of one run.

    Attributes:
        folder: The run directory.
    """

    folder: Path

    @classmethod
    def create(cls, folder: Path, pipeline: dict[str, Any], *, resume: bool = False) -> Run:
        """Make a run directory for a resolved pipeline, or reopen one to resume it.

        Raises:
            InputError: The folder holds a run and resuming was not asked for; or it holds another pipeline,
                or the runs of several seeds; or it lies in a run.
        """
        run = cls(folder)
        text = dump_yaml(pipeline)
        if run.pipeline_file.exists():
            if not resume:
                hint = "Give another folder with --output, or continue this run with --resume."
                raise InputError(f"{folder} already holds a run.", hint=hint)
            if run.pipeline_file.read_text(encoding="utf-8") != text:
                hint = "Resume with the settings it began with, or start a new run with --output."
                raise InputError(
                    f"{run.pipeline_file} is another pipeline than the one to resume.", hint=hint
                )
        else:
            _refuse_nesting(folder)
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(run.pipeline_file, lambda path: path.write_text(text, encoding="utf-8"))
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
            hint = "Finish its training with: msakit train ... --resume"
            raise InputError(f"{folder} has no trained adapter yet ({run.adapter_file.name}).", hint=hint)
        return run

    @property
    def pipeline_file(self) -> Path:
        """The resolved pipeline."""
        return self.folder / "pipeline.yaml"

    @property
    def adapter_folder(self) -> Path:
        """The trained tensors."""
        return self.folder / "adapter"

    @property
    def adapter_file(self) -> Path:
        """The adapter's tensors, feature scaling included."""
        return self.adapter_folder / "adapter.safetensors"

    @property
    def history_file(self) -> Path:
        """One JSON object a line."""
        return self.folder / "history.jsonl"

    @property
    def checkpoint_file(self) -> Path:
        """Where to resume from."""
        return self.folder / "checkpoint.pt"

    # Small files

    def write_json(self, name: str, content: dict[str, Any]) -> Path:
        """Write a JSON file into the run; undefined numbers (NaN) become null."""
        text = to_json(content) + "\n"
        path = self.folder / name
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
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

    def truncate_history(self, step: int) -> None:
        """Forget what was recorded after a step, and a torn last line."""
        if not self.history_file.is_file():
            return
        kept = []
        for line in self.history_file.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except ValueError:
                break
        text = "".join(f"{line}\n" for line in kept)
        write_atomically(self.history_file, lambda path: path.write_text(text, encoding="utf-8"))

    # Tensors

    def save_adapter(self, pipeline: Pipeline) -> None:
        """Save the trained tensors; LoRA weights go to adapter/lora in peft's own format."""
        from safetensors.torch import save_file

        self.adapter_folder.mkdir(exist_ok=True)
        metadata = {"format": ADAPTER_FORMAT, "version": ADAPTER_VERSION}
        state = {
            name: tensor.detach().cpu().contiguous() for name, tensor in pipeline.adapter_state().items()
        }
        write_atomically(self.adapter_file, lambda path: save_file(state, path, metadata))
        pipeline.backbone.save_adaptation(self.adapter_folder / "lora")

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
        pipeline.backbone.load_adaptation(self.adapter_folder / "lora")

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Save where the training stands, replacing the last checkpoint in one step."""
        import torch

        write_atomically(self.checkpoint_file, lambda path: torch.save(state, path))

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, or None.

        Raises:
            InputError: It is damaged.
        """
        import torch

        if not self.checkpoint_file.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.checkpoint_file, weights_only=True)
        except Exception as error:
            raise InputError(f"{self.checkpoint_file} is damaged: {error}") from error
        return state


def _refuse_nesting(folder: Path) -> None:
    """A folder is a run or holds the runs of several seeds, never both: what reads it could not tell."""
    if seeds := [path.name for path in seed_folders(folder)]:
        hint = "Give another folder with --output, or train several seeds with --seeds."
        raise InputError(f"{folder} holds the runs of several seeds: {', '.join(seeds)}.", hint=hint)
    if is_run(folder.parent):
        hint = "Give another folder with --output."
        raise InputError(f"{folder.parent} is a run itself, so it cannot hold other runs.", hint=hint)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the path, flush to disk, then take its place: readers see the old file or the new."""
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
