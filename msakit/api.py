"""The Python face of msakit: build a pipeline, train it, evaluate it, predict with it.

    import msakit

    pipeline = msakit.build(fuser="tgm", injector="pseudo6", backbone="smollm2-135m", dataset="demo")
    run = msakit.train(pipeline, store="demo", output="runs/first")
    run.metrics["test"]["mae"]
    msakit.load("runs/first").predict("clip.mp4", text="what a film")

Names and paths are plain strings. Whatever is wrong with them raises an `msakit.MsakitError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msakit.core.atomic import write_text_atomically
from msakit.core.files import dump_yaml
from msakit.core.pipeline.config import read_pipeline as read_pipeline_file
from msakit.core.pipeline.parameters import Sizes, measure_pipeline
from msakit.core.pipeline.resolution import ResolvedPipeline, resolve
from msakit.core.registry.registry import load_registry
from msakit.feature_store import FeatureStore
from msakit.runs.location import locate_run
from msakit.runs.results import read_run
from msakit.samples.location import locate_store
from msakit.workflows.assemble import assemble_pipeline, stored_widths
from msakit.workflows.evaluate import evaluate_run
from msakit.workflows.load import TrainedRun, load_run, stored_samples
from msakit.workflows.train import TrainingPlan, train_run

if TYPE_CHECKING:
    from msakit.core.registry.registry import Registry
    from msakit.runs.predictions import Answer
    from msakit.training.observer import Observer
    from msakit.workflows.timeline import Timeline

PathLike = str | Path
Named = str | Mapping[str, Any]
T = TypeVar("T")
Several = list[T] | tuple[T, ...]


@dataclass(frozen=True, repr=False)
class BuiltPipeline:
    """A pipeline whose every name is known and every setting valid, counted but not loaded.

    Attributes:
        resolved: What its names stand for.
        sizes: Its parts and parameters.
    """

    resolved: ResolvedPipeline
    sizes: Sizes
    _registry: Registry

    def save(self, path: PathLike) -> Path:
        """Write the complete pipeline file, which `msakit train` reads."""
        file = Path(path)
        write_text_atomically(file, dump_yaml(self.resolved.as_yaml()))
        return file

    def __repr__(self) -> str:
        resolved = self.resolved
        encoders = ", ".join(f"{name}: {each.spec.short}" for name, each in resolved.encoders.items())
        return (
            f"<pipeline on {resolved.dataset.name}: {encoders or 'no encoder'} -> {resolved.fuser.spec.short}"
            f" -> {resolved.injector.spec.short} -> {resolved.backbone_spec.name};"
            f" {self.sizes.trainable:,} of {self.sizes.backbone_parameters:,} parameters trained>"
        )


class Run:
    """A finished run, loaded with its best weights.

    Attributes:
        path: The run directory.
    """

    def __init__(self, trained: TrainedRun, registry: Registry) -> None:
        self.path = trained.run.folder
        self._trained = trained
        self._registry = registry

    @property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """Split to metrics, as the run recorded them; None where one is undefined."""
        record = self._trained.run.read_record()
        return dict(record.splits) if record else {}

    def evaluate(self, *splits: str, store: PathLike | None = None) -> dict[str, dict[str, float]]:
        """Evaluate splits ("test" by default); the run takes in what it has not, and keeps what it has.

        Raises:
            DataError: The store does not hold what the run was trained on.
        """
        place = None if store is None else locate_store(store)
        samples = stored_samples(self._trained, place)
        return evaluate_run(self._trained, samples, splits or ("test",), store=place).splits

    def predictions(self, split: str = "test") -> Any:
        """The predictions of a split: a pandas DataFrame where pandas is installed, else a list of rows.

        Labels and predictions are scores, or class indices; `p:ANSWER` is an answer's probability.

        Raises:
            InputError: The split was not evaluated.
        """
        table = read_run(self.path).predictions(split)
        columns: dict[str, Any] = {"id": table.ids, "label": table.labels, "prediction": table.values}
        if table.probabilities is not None:
            columns |= {f"p:{answer}": table.probabilities[:, at] for at, answer in enumerate(table.answers)}
        try:
            import pandas as pd
        except ImportError:
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return pd.DataFrame(columns)

    @overload
    def predict(self, clips: PathLike | None = None, *, text: str | None = None) -> Answer: ...

    @overload
    def predict(
        self, clips: Several[PathLike], *, text: str | Several[str] | None = None
    ) -> list[Answer]: ...

    def predict(
        self,
        clips: PathLike | Several[PathLike] | None = None,
        *,
        text: str | Several[str] | None = None,
    ) -> Answer | list[Answer]:
        """Answer for a media file, for several, or for text alone.

        Args:
            clips: One path, several, or none (text alone).
            text: What is said: once for all clips, or once for each.

        Returns:
            One answer for one clip or text, a list for a list.

        Raises:
            MediaError: A file cannot be decoded.
            InputError: There is nothing to answer, or the texts do not match the clips.
        """
        from msakit.workflows.predict import predict_media

        paths: list[PathLike] = _as_list(clips)
        texts: list[str] = _as_list(text)
        answers = predict_media(self._trained, self._registry, [Path(path) for path in paths], texts)
        return answers if isinstance(clips, list | tuple) or len(answers) > 1 else answers[0]

    def timeline(self, clip: PathLike, *, segment: float | str, **options: Any) -> Timeline:
        """Answer for each segment of a recording and for the whole (`workflows.timeline`)."""
        from msakit.workflows.timeline import predict_recording

        return predict_recording(self._trained, self._registry, Path(clip), segment, **options)

    def report(self, output: PathLike | None = None, *, split: str | None = None) -> Path:
        """Write an HTML report of the run.

        Args:
            output: The file; default: report.html in the run directory.
            split: Split to show; default: test if it was evaluated.

        Raises:
            MissingExtraError: jinja2 or matplotlib is not installed.
        """
        from msakit.reports.report import write_report

        return write_report(self.path, Path(output or self.path / "report.html"), split=split)

    def save_pretrained(
        self,
        folder: PathLike,
        *,
        repository: str = "",
        public_names: Mapping[str, str] | None = None,
        study: PathLike | None = None,
    ) -> Path:
        """Write the run as others may have it: weights, pipeline, feature recipe, versions and a model card.

        Predictions, labels, texts and paths stay here.

        Args:
            folder: The folder to write; must not exist.
            repository: ORG/NAME on the hub, for the lines of the card that load it.
            public_names: A folder of this computer to what others load in its place, such as
                {"/models/qwen": "hf:Qwen/Qwen3-0.6B"}.
            study: The folder of a study whose other systems the card shows.

        Returns:
            The folder; `msakit.load` reads it, and `hf upload ORG/NAME FOLDER` publishes it.

        Raises:
            InputError: The run was never evaluated, the folder exists, or a local folder has no public name.
        """
        from msakit.workflows.share import Sharing, share_run

        sharing = Sharing(repository, public_names or {}, None if study is None else Path(study))
        return share_run(self.path, Path(folder), self._registry, sharing)

    def __repr__(self) -> str:
        dataset = self._trained.resolved.dataset
        shown = ", ".join(self.metrics) or "nothing"
        return f"<run {self.path}: {dataset.task} on {dataset.name}, evaluated on {shown}>"


def build(
    *,
    dataset: Named | None = None,
    fuser: Named | None = None,
    injector: Named | None = None,
    backbone: Named | None = None,
    encoders: str | Mapping[str, str] | None = None,
    recipe: str | None = None,
    settings: Mapping[str, Any] | None = None,
    store: PathLike | None = None,
) -> BuiltPipeline:
    """Assemble a pipeline from names and count its parameters, without loading any weights.

    Args:
        dataset: A known dataset, or one that the store holds. Default: mosei.
        fuser: Default: tgm.
        injector: Default: pseudo6.
        backbone: A name, `hf:ORG/NAME`, or a folder. Default: smollm2-135m.
        encoders: One encoder for every modality, or a mapping from modality to encoder.
        recipe: A paper's settings to start from.
        settings: Dotted keys of the pipeline file, such as {"training.epochs": 5}.
        store: Take the dataset and its feature widths from this store.

    Raises:
        UnknownNameError: Nothing of that name is installed.
        ConfigError: A setting is wrong, or the parts do not fit together.
    """
    registry = load_registry()
    named = {"dataset": dataset, "fuser": fuser, "injector": injector, "backbone": backbone}
    place = None if store is None else locate_store(store)
    resolved = assemble_pipeline(
        registry,
        {key: choice for key, choice in named.items() if choice is not None},
        encoders=_encoder_choices(encoders),
        recipe=recipe,
        overrides=(settings or {}).items(),
        store=place,
    )
    sizes = measure_pipeline(resolved, registry, stored_widths(resolved, place))
    return BuiltPipeline(resolved, sizes, registry)


def read_pipeline(path: PathLike, *, store: PathLike | None = None) -> BuiltPipeline:
    """Read a pipeline file and count its parameters.

    Args:
        path: The file, as `BuiltPipeline.save` or `msakit build -o` writes it.
        store: Take the feature widths from this store.

    Raises:
        ConfigError: The file is not a valid pipeline; every problem is listed.
    """
    registry = load_registry()
    resolved = resolve(read_pipeline_file(Path(path)), registry, source=str(path))
    place = None if store is None else locate_store(store)
    sizes = measure_pipeline(resolved, registry, stored_widths(resolved, place))
    return BuiltPipeline(resolved, sizes, registry)


def train(
    pipeline: BuiltPipeline,
    *,
    store: PathLike,
    output: PathLike,
    resume: bool = False,
    observers: Iterable[Observer] = (),
) -> Run:
    """Train a pipeline, evaluate its best checkpoint, and write everything into a run directory.

    Args:
        pipeline: What `build` returned.
        store: The feature store; "demo" is the shipped corpus.
        output: The run directory.
        resume: Continue a run that was interrupted.
        observers: Objects that are told of steps and epochs.

    Raises:
        DataError: The store does not hold what the pipeline needs.
        InputError: The folder holds another run.
    """
    plan = TrainingPlan(pipeline.resolved, locate_store(store), Path(output), resume=resume)
    return Run(train_run(plan, pipeline._registry, observers=observers), pipeline._registry)


def load(run: PathLike) -> Run:
    """Load a finished run with its best weights; nothing that comes with it is executed.

    Args:
        run: Its folder; else ORG/NAME or ORG/NAME@REVISION on the Hugging Face hub (`hf:ORG/NAME` where a
            folder here is called ORG).

    Raises:
        InputError: It is not a run, or its files are damaged.
        MsakitError: It is neither here nor can it be fetched.
    """
    registry = load_registry()
    return Run(load_run(locate_run(run), registry), registry)


def open_store(path: PathLike) -> FeatureStore:
    """Open a feature store: a folder, a single .h5 file, or "demo" for the shipped corpus.

    Raises:
        StoreError: There is no store, or it is damaged.
    """
    return FeatureStore.open(locate_store(path))


def _as_list(given: T | Several[T] | None) -> list[T]:
    if given is None:
        return []
    return list(given) if isinstance(given, list | tuple) else [given]


def _encoder_choices(encoders: str | Mapping[str, str] | None) -> list[str]:
    if encoders is None:
        return []
    return [encoders] if isinstance(encoders, str) else [f"{name}={each}" for name, each in encoders.items()]
