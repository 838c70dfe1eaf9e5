"""A finished run made ready for others: its weights, how to use them, and a card that says what it is.

What stays here: predictions, labels, texts, the training log, the command line, the machine, every path.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msakit.core.atomic import writing_errors
from msakit.core.errors import ConfigError, InputError
from msakit.core.files import dump_yaml, read_yaml
from msakit.reports.model_card import model_card
from msakit.reports.study_page import study_groups
from msakit.runs.checkpoint import LORA_FOLDER, WEIGHTS
from msakit.runs.folder import Run
from msakit.runs.location import SHARED_FILES, SHARED_WEIGHTS, fetch_run
from msakit.runs.results import RunResult, read_run

if TYPE_CHECKING:
    from msakit.core.registry.registry import Registry

_SHARED_PROVENANCE = ("created", "seed", "data", "plugins", "backbone", "versions")
_COMPONENTS = ("encoders", "fuser", "injector", "backbone")


@dataclass(frozen=True, slots=True)
class Sharing:
    """What the user says of a run that is shared.

    Attributes:
        repository: ORG/NAME, for the lines of the card that load it; "" where it is not known yet.
        public_names: Folder of this computer to what others load in its place: a backbone's name or
            hf:ORG/NAME, an extractor's ORG/NAME.
        study: Folder of the study whose other systems the card shows; None for none.
    """

    repository: str = ""
    public_names: Mapping[str, str] = field(default_factory=dict)
    study: Path | None = None


def share_run(folder: Path, output: Path, registry: Registry, sharing: Sharing | None = None) -> Path:
    """Write a run as others may have it: the folder is there whole or not at all.

    Args:
        folder: A finished run.
        output: The folder to write; must not exist.
        registry: Where licences are looked up.
        sharing: What the user says of it.

    Returns:
        The folder written.

    Raises:
        InputError: It is not a finished run, or `output` exists.
        ConfigError: It needs a folder of this computer that has no public name; every one is listed.
    """
    _refuse_existing(output)
    run, found, sharing = Run.open(folder), read_run(folder), sharing or Sharing()
    pipeline, features = _public(run, sharing.public_names)
    beside = study_groups(sharing.study) if sharing.study else []
    with _whole_folder(output) as temporary:
        shared = Run(temporary)
        _write_files(shared, run, found, pipeline, features)
        card = model_card(found, shared, registry, repository=sharing.repository, beside=beside)
        (temporary / "README.md").write_text(card, encoding="utf-8")
    return output


def _refuse_existing(output: Path) -> None:
    if output.exists():
        raise InputError(f"{output} is there already.", hint="Give a folder that is not.")


@contextmanager
def _whole_folder(output: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `output` when that succeeded, and is gone when not."""
    with writing_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=".msakit-") as temporary:
            folder = Path(temporary) / "run"
            folder.mkdir()
            yield folder
            folder.rename(output)


def _public(run: Run, public_names: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pipeline and feature recipe with public names in place of local folders."""
    names = {_absolute(folder): name for folder, name in public_names.items()}
    pipeline, features = read_yaml(run.pipeline_file), run.read_json("features.json")
    backbone = pipeline["backbone"]
    place = backbone.get("path") or backbone["name"]
    if backbone.get("path") or Path(place).expanduser().is_dir():
        backbone |= {"name": _absolute(place), "path": None}
    components = _renamed({key: pipeline[key] for key in _COMPONENTS}, names)
    features = _renamed(features, names)
    problems = [
        (key, f"'{value}' is on this computer alone")
        for key, value in [*_local_paths(components), *_local_paths(features, "features")]
    ]
    if problems:
        hint = "Say what others load in its place: --public FOLDER=NAME (a backbone's hf:ORG/NAME)."
        raise ConfigError(f"{run.folder} cannot be shared as it is; its pipeline", problems, hint=hint)
    return pipeline | components, features


def _renamed(content: Any, names: Mapping[str, str]) -> Any:
    if isinstance(content, dict):
        return {key: _renamed(value, names) for key, value in content.items()}
    if isinstance(content, list):
        return [_renamed(value, names) for value in content]
    is_path = isinstance(content, str) and _is_local(content)
    return names.get(_absolute(content), content) if is_path else content


def _local_paths(content: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and value of every setting that is a path of this computer."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _local_paths(value, f"{key}.{name}" if key else str(name))
    elif isinstance(content, list):
        for value in content:
            yield from _local_paths(value, key)
    elif isinstance(content, str) and _is_local(content):
        yield key, content


def _absolute(folder: str) -> str:
    return str(Path(folder).expanduser().resolve())


def _is_local(value: str) -> bool:
    return value.startswith(("/", "~", "./", "../")) or ("/" in value and Path(value).is_dir())


def _write_files(
    shared: Run, run: Run, found: RunResult, pipeline: dict[str, Any], features: dict[str, Any]
) -> None:
    shared.pipeline_file.write_text(dump_yaml(pipeline), encoding="utf-8")
    shared.write_json("features.json", features)
    known = {key: found.provenance[key] for key in _SHARED_PROVENANCE if key in found.provenance}
    known["data"] = {key: value for key, value in known.get("data", {}).items() if key != "store"}
    shared.write_json("provenance.json", known)
    _copy_weights(run.adapter_folder, shared.folder / WEIGHTS)
    shared.write_record(found.record.model_copy(update={"digests": shared.digests()}))


def _copy_weights(source: Path, target: Path) -> None:
    """Tensors, and peft's settings without the path of the backbone."""
    for file in sorted(path for path in source.rglob("*") if path.suffix in SHARED_WEIGHTS):
        place = target / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    settings = Run(target / LORA_FOLDER)
    if content := settings.read_json("adapter_config.json"):
        settings.write_json("adapter_config.json", content | {"base_model_name_or_path": None})


def push_run(
    folder: Path, repository: str, registry: Registry, sharing: Sharing, *, private: bool = False
) -> str:
    """Share a run on the Hugging Face hub; the repository's address.

    Raises:
        MsakitError: The hub cannot be reached, or refuses; otherwise as `share_run`.
    """
    from msakit.core.hub import upload_folder

    with tempfile.TemporaryDirectory(prefix="msakit-") as temporary:
        shared = share_run(folder, Path(temporary) / "run", registry, sharing)
        return upload_folder(shared, repository, private=private)


def pull_run(repository: str, output: Path) -> Path:
    """Copy a shared run of the hub into a folder, which is there whole or not at all.

    Raises:
        InputError: The repository is no run of msakit, or `output` exists.
        MsakitError: It cannot be fetched.
    """
    _refuse_existing(output)
    fetched = fetch_run(repository)
    Run.open(fetched)
    with _whole_folder(output) as temporary:
        for name in SHARED_FILES:
            if (fetched / name).is_file():
                shutil.copyfile(fetched / name, temporary / name)
        _copy_weights(fetched / WEIGHTS, temporary / WEIGHTS)
    return output
