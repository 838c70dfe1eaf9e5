"""Choose settings with Optuna, by the validation metric alone.

Every trial is a study of one system: its runs are ordinary run directories, FOLDER/trial-N/seed-S, and its
value is the mean validation metric of its seeds. Optuna's storage holds what was tried and is shared by all
workers; the folder is shared as well. A trial that a killed worker left is gone on with from its last
checkpoint by whoever finds its run directories free, so nothing has to notice that a worker is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from msakit.core.atomic import write_text_atomically
from msakit.core.errors import DivergedError, InputError, MissingExtraError
from msakit.core.files import dump_yaml, to_json
from msakit.core.pipeline.config import DatasetChoice
from msakit.core.pipeline.resolution import resolve_dataset
from msakit.metrics import validation_metric
from msakit.runs.lock import locked
from msakit.workflows.study import Study

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from pathlib import Path

    import optuna
    from optuna.trial import FrozenTrial

    from msakit.core.registry.registry import Registry
    from msakit.metrics import Metric
    from msakit.training.observer import Observer
    from msakit.workflows.search_space import SearchConfig
    from msakit.workflows.study import Cell

DATABASE = "search.db"
BEST_PIPELINE = "best.yaml"
_WHAT = "search"  # the study's attribute that says what is searched


@dataclass(frozen=True, slots=True)
class Tried:
    """One trial.

    Attributes:
        number: Counted from 0.
        state: "running", "complete" or "fail" (its loss became NaN or infinite).
        settings: Dotted key to value.
        value: Mean validation metric over the seeds; None unless complete.
        folder: Holds its runs.
    """

    number: int
    state: str
    settings: dict[str, Any]
    value: float | None
    folder: Path


@dataclass(frozen=True)
class Search:
    """A search over a study's ranges.

    Attributes:
        study: The study, with a `search`.
        registry: The components.
        storage: URL of Optuna's storage; "" for a file in the study's folder.
    """

    study: Study
    registry: Registry
    storage: str = ""

    @property
    def config(self) -> SearchConfig:
        """What is searched.

        Raises:
            InputError: The study has no search.
        """
        if self.study.config.search is None:
            raise InputError(
                "The study has no `search`.",
                hint="Give it ranges to search (docs/studies.md), or leave --search out.",
            )
        return self.study.config.search

    @cached_property
    def metric(self) -> Metric:
        """The dataset's validation metric, which decides."""
        choice = DatasetChoice.model_validate(self.study.pipeline["dataset"])
        return validation_metric(resolve_dataset(choice, self.registry).metrics)

    def check(self) -> None:
        """Check every end of every range, and every listed value, before anything is trained.

        Raises:
            ConfigError: A pipeline with it is wrong.
        """
        for settings in self.config.extremes():
            title = ", ".join(f"{key}={value}" for key, value in settings.items())
            self._systems({title: settings}).cells(self.registry)

    def run(self, observers: Callable[[Cell], Iterable[Observer]]) -> list[int]:
        """Try settings until as many as asked for were tried, by this worker and all others.

        Returns:
            The trials that were left to the processes that are training them.

        Raises:
            MissingExtraError: Optuna is not installed.
            InputError: The storage cannot be opened, or holds another search of that name.
        """
        self.check()
        left: list[int] = []
        while (number := self._next(left)) is not None:
            if not self._try(number, observers):
                left.append(number)
        self._write_best()
        return left

    def tried(self) -> list[Tried]:
        """All trials so far, in their order; none where nothing was begun."""
        if not self.storage and not (self.study.folder / DATABASE).is_file():
            return []
        with self._opened() as study:
            return [
                Tried(
                    trial.number,
                    trial.state.name.lower(),
                    self.config.settings(trial.params),
                    trial.value,
                    self.study.folder / _name(trial.number),
                )
                for trial in study.get_trials(deepcopy=False)
                if self._is_whole(trial)
            ]

    def best(self) -> Tried | None:
        """The trial with the best value; the first of several."""
        complete = [trial for trial in self.tried() if trial.value is not None]
        if not complete:
            return None
        sign = 1 if self.metric.higher_is_better else -1
        return max(complete, key=lambda trial: (sign * (trial.value or 0.0), -trial.number))

    # One trial

    def _next(self, left: Container[int]) -> int | None:
        """The next trial to train: one that was begun, not ended and not left to others; else a new one."""
        import optuna

        with self._opened() as study:
            trials = study.get_trials(deepcopy=False)
            for trial in trials:
                if trial.state is not optuna.trial.TrialState.RUNNING:
                    continue
                if not self._is_whole(trial):  # its worker died while choosing: nobody chooses just now
                    study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                elif trial.number not in left:
                    return trial.number
            whole = sum(map(self._is_whole, trials))
            if whole >= self.config.trials:
                return None
            study.sampler = _sampler(self.config, whole)
            return study.ask(self.config.distributions()).number

    def _is_whole(self, trial: FrozenTrial) -> bool:
        return trial.params.keys() == self.config.ranges.keys()

    def _try(self, number: int, observers: Callable[[Cell], Iterable[Observer]]) -> bool:
        """Train a trial's runs and tell the storage the outcome; whether none was left to others."""
        import optuna

        runs = self._runs(number)
        try:
            runs.run(self.registry, observers)
        except DivergedError:
            with self._opened() as study:
                study.tell(number, state=optuna.trial.TrialState.FAIL, skip_if_finished=True)
            return True
        if not all(cell.is_finished for cell in runs.cells(self.registry)):
            return False
        value = runs.results("valid")[_name(number)][self.metric.name].mean
        with self._opened() as study:
            study.tell(number, value, skip_if_finished=True)
        return True

    def _runs(self, number: int) -> Study:
        with self._opened() as study:
            chosen = study.get_trials(deepcopy=False)[number].params
        return self._systems({_name(number): self.config.settings(chosen)})

    def _systems(self, systems: dict[str, dict[str, Any]]) -> Study:
        changes = {"search": None, "systems": systems}
        return replace(self.study, config=self.study.config.model_copy(update=changes))

    def _write_best(self) -> None:
        if best := self.best():
            first = self._runs(best.number).cells(self.registry)[0]
            write_text_atomically(self.study.folder / BEST_PIPELINE, dump_yaml(first.resolved.as_yaml()))

    # The storage

    @contextmanager
    def _opened(self) -> Iterator[optuna.Study]:
        """Optuna's study, while no other worker of the folder has it open."""
        try:
            import optuna
            from sqlalchemy.exc import SQLAlchemyError
        except ImportError as error:
            raise MissingExtraError("A search", "optuna", "search") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        url = self.storage or f"sqlite:///{(self.study.folder / DATABASE).resolve()}"
        direction: Any = "maximize" if self.metric.higher_is_better else "minimize"
        with locked(self.study.folder, wait=True):
            try:
                study = optuna.create_study(
                    storage=url, study_name=self.study.folder.name, direction=direction, load_if_exists=True
                )
                self._check_same(study)
            except (ImportError, SQLAlchemyError, optuna.exceptions.OptunaError) as error:
                raise InputError(
                    f"The search's storage cannot be used: {str(error).splitlines()[0]}",
                    hint="Check --storage, a URL such as postgresql://user@host/searches; without it the "
                    f"storage is the file {DATABASE} in the output folder.",
                ) from error
            yield study

    def _check_same(self, study: optuna.Study) -> None:
        """Refuse to go on with a search of other settings; only the number of trials may grow."""
        config = self.study.config.model_dump(mode="json", exclude={"search": {"trials"}, "title": True})
        what = to_json({**config, "pipeline": dict(self.study.pipeline)}, indent=None)
        if study.user_attrs.setdefault(_WHAT, what) != what:
            raise InputError(
                f"The storage holds another search named '{study.study_name}'.",
                hint="Undo what was changed in the study file (`trials` may change), or give another "
                "folder with --output.",
            )
        study.set_user_attr(_WHAT, what)


def _name(number: int) -> str:
    return f"trial-{number}"


def _sampler(config: SearchConfig, number: int) -> optuna.samplers.BaseSampler:
    """A sampler for one trial, seeded by its number: workers draw differently, a resumed search the same."""
    import optuna

    seed = int(np.random.SeedSequence((config.seed, number)).generate_state(1)[0])
    if config.sampler == "random":
        return optuna.samplers.RandomSampler(seed)
    return optuna.samplers.TPESampler(seed=seed)
