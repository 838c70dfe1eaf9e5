"""A training that is killed, stopped or started twice ends with the numbers of one that was left alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time

import pytest
from safetensors.torch import load_file

import tests.training.forked as forked
from msakit.core.errors import InputError, MsakitError
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.runs.checkpoint import read_commit
from msakit.runs.folder import Run
from msakit.runs.lock import RunBusyError
from msakit.training.interruption import interrupt
from msakit.workflows.train import TrainingPlan, train_run
from tests.conftest import tiny_pipeline

SETTINGS = {"epochs": 2, "batch_size": 4, "learning_rate": 3e-3, "seed": 1, "checkpoint_steps": 1}
KILLED = -signal.SIGALRM
LORA = {"name": "tiny", "adaptation": "lora", "lora": {"dropout": 0.1}}


def training(registry, store, folder, observers=(), **changes):
    changes = {"training": SETTINGS, "backbone": LORA, **changes}
    resolved = resolve(parse_pipeline(tiny_pipeline(**changes), "test"), registry)
    return lambda: train_run(TrainingPlan(resolved, store, folder), registry, observers=observers)


def tensors(folder):
    """Every trained tensor, LoRA's too."""
    files = sorted(Run(folder).adapter_folder.rglob("*.safetensors"))
    assert len(files) == 2
    return {f"{file.name}:{name}": tensor for file in files for name, tensor in load_file(file).items()}


def assert_same_run(one, other):
    assert (one / "history.jsonl").read_text() == (other / "history.jsonl").read_text()
    expected, actual = tensors(one), tensors(other)
    assert expected.keys() == actual.keys()
    assert all(bool((expected[name] == actual[name]).all()) for name in expected)
    assert (one / "predictions.test.csv").read_text() == (other / "predictions.test.csv").read_text()


class SlowSteps:
    """Takes its time over every step."""

    def __init__(self, seconds):
        self.seconds = seconds

    def on_prepare(self, *, done, total):
        pass

    def on_warm_start(self, *, done, total, loss):
        pass

    def on_start(self, *, num_steps, first_step):
        pass

    def on_step(self, record):
        time.sleep(self.seconds)

    def on_epoch(self, record, *, is_best):
        pass

    def on_end(self):
        pass


class Signals(SlowSteps):
    """Sends its own process a signal after a step."""

    def __init__(self, number, at_step):
        self.number, self.at_step = number, at_step

    def on_step(self, record):
        if record["step"] == self.at_step:
            os.kill(os.getpid(), self.number)


class SignalsLate(SlowSteps):
    """Sends its own process a signal when nothing of the training is left but to end."""

    def on_epoch(self, record, *, is_best):
        if record["epoch"] == SETTINGS["epochs"]:
            os.kill(os.getpid(), signal.SIGTERM)


class SwallowsTheSignal(SlowSteps):
    """Interrupts its own process before the training begins, and swallows the interruption."""

    def on_start(self, *, num_steps, first_step):
        signal.signal(signal.SIGTERM, interrupt)
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)


class Dies(SlowSteps):
    """Dies, as by kill -9, some time after so many steps were made."""

    def __init__(self, steps, delay_s=1e-6):
        self.left, self.delay_s = steps, delay_s

    def on_step(self, record):
        self.left -= 1
        if not self.left:
            signal.setitimer(signal.ITIMER_REAL, self.delay_s)  # nothing handles SIGALRM


@pytest.fixture(scope="module")
def straight(registry, store, tmp_path_factory):
    """A run that nobody disturbed, in a process like those that are killed."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    assert forked.run(training(registry, store, folder)) == 0
    return folder


def test_killed_at_random_moments_it_ends_with_the_same_bits(registry, store, tmp_path, straight):
    """In steps, in saves and in validations; every kill is followed by the same command."""
    generator, kills = random.Random(5), 0
    while not Run(tmp_path / "run").is_finished and kills < 8:
        death = Dies(generator.randint(1, 3), generator.uniform(1e-6, 0.05))
        kills += forked.run(training(registry, store, tmp_path / "run", [death])) == KILLED
    assert kills >= 3
    if not Run(tmp_path / "run").is_finished:
        assert forked.run(training(registry, store, tmp_path / "run")) == 0
    assert_same_run(straight, tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_and_says_so(registry, store, tmp_path, straight, number):
    changes = {"training": {**SETTINGS, "checkpoint_steps": None}}
    train = training(registry, store, tmp_path / "run", [Signals(number, at_step=4)], **changes)
    assert forked.run(train) == 128 + number
    assert read_commit(tmp_path / "run").step == 4
    assert forked.run(training(registry, store, tmp_path / "run", **changes)) == 0
    assert_same_run(straight, tmp_path / "run")


@pytest.mark.parametrize(("observer", "step"), [(SignalsLate(0), 12), (SwallowsTheSignal(0), 1)])
def test_a_signal_outside_the_steps_is_not_forgotten(registry, store, tmp_path, straight, observer, step):
    assert forked.run(training(registry, store, tmp_path / "run", [observer])) == 128 + signal.SIGTERM
    assert read_commit(tmp_path / "run").step == step
    assert not Run(tmp_path / "run").is_finished
    assert forked.run(training(registry, store, tmp_path / "run")) == 0
    assert_same_run(straight, tmp_path / "run")


def test_a_kill_before_the_first_checkpoint_leaves_no_history_behind(registry, store, tmp_path, straight):
    changes = {"training": {**SETTINGS, "checkpoint_steps": None}}
    train = training(registry, store, tmp_path / "run", [Dies(4)], **changes)
    assert forked.run(train) == KILLED
    assert len((tmp_path / "run" / "history.jsonl").read_text().splitlines()) == 4
    assert forked.run(training(registry, store, tmp_path / "run", **changes)) == 0
    assert_same_run(straight, tmp_path / "run")


def test_two_trainings_in_one_folder_do_not_both_go_on(registry, store, tmp_path):
    first = forked.start(training(registry, store, tmp_path / "run", [SlowSteps(0.05)]))
    while not (tmp_path / "run" / "history.jsonl").exists():
        time.sleep(0.02)
    with pytest.raises(RunBusyError, match=rf"is being trained by process {first} on "):
        training(registry, store, tmp_path / "run")()
    assert forked.wait(first) == 0
    history = (tmp_path / "run" / "history.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in history]
    assert [step for step in steps if steps.count(step) == 1] == sorted(set(range(1, 13)) - {6, 12})


def test_other_data_than_it_began_with_is_refused(registry, tmp_path):
    from tests.conftest import fill_store

    first = fill_store(tmp_path / "store")
    train = training(registry, first, tmp_path / "run", [Dies(4)])
    assert forked.run(train) == KILLED
    other = fill_store(tmp_path / "other", num_samples=40)
    with pytest.raises(InputError, match=r"was trained on other data: .*splits"):
        training(registry, other, tmp_path / "run")()


def test_a_loss_that_is_no_number_names_the_samples_and_saves_nothing(registry, store, tmp_path, monkeypatch):
    from msakit.core.pipeline.pipeline import Pipeline

    honest = Pipeline.forward

    def broken(self, batch):
        loss = honest(self, batch)
        return loss * float("nan") if "s004" in batch.ids else loss

    monkeypatch.setattr(Pipeline, "forward", broken)
    with pytest.raises(MsakitError, match=r"The loss became nan at step \d on the samples .*s004"):
        training(registry, store, tmp_path / "run", training={**SETTINGS, "checkpoint_steps": None})()
    assert read_commit(tmp_path / "run").step == 0
