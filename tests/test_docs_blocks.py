"""Every command and code block of README and docs runs, or says above it why not.

A block is left out by a comment on the line before it: `<!-- not run here: REASON -->`.
Language models are replaced by the tiny one, and runs and stores of the examples by small ones.
"""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from msakit.cli.app import app
from msakit.core.pipeline.config import DatasetChoice, parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.catalogue import read_catalogue
from msakit.core.registry.registry import load_registry
from msakit.feature_store import FeatureStore
from msakit.samples.location import demo_store
from msakit.workflows.study import read_study

ROOT = Path(__file__).parents[1]
GENERATED = ("api.md", "cli.md", "components.md", "settings.md")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?:<!-- not run here: (?P<why>[^\n]*) -->\n)?"
    r"(?P<fence>```+) ?(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
SHOWN = (
    "text",
    "bibtex",
    "{ .python }",
)  # nothing to run; { .python } includes a file that has tests of its own
TINY = "dataset: demo\nencoders: {audio: bilstm, vision: bilstm}\nfuser: cmpta\ninjector: pseudo6\n" + (
    "backbone: tiny\nfeatures: {normalise: standard}\ntraining: {epochs: 1, batch_size: 8}\n"
)
RUNS = ("first", "pipeline", "text-only", "tgm/seed-1111", "cmpta/seed-1111", "egmf", "papers/one/seed-1111")
COUNTS = {"train": 16, "valid": 8, "test": 8}
SAMPLE = "movie05708"


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    why: str

    @property
    def commands(self) -> list[list[str]]:
        joined = self.text.replace("\\\n", " ")
        lines = [line.strip().removeprefix("$ ") for line in joined.splitlines()]
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        if page.name in GENERATED:
            continue
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            line = text[: match.start()].count("\n") + 1
            found.append(Block(page, line, match["language"].strip(), match["text"], match["why"] or ""))
    return found


BLOCKS = [block for block in blocks() if block.language not in SHOWN and not block.why]
COMMANDS = [block for block in BLOCKS if block.language in ("", "bash", "console")]
LIGHT = {"build", "components", "plugins"}


def ids(block: Block) -> str:
    return f"{block.page.relative_to(ROOT)}:{block.line}"


def is_light(block: Block) -> bool:
    return all(words[1] in LIGHT or "--dry-run" in words for words in block.commands)


def run(words: list[str]) -> None:
    assert words[0] == "msakit", f"{words[0]} is not run by the tests: say why above the block"
    if words[1] == "train":
        words = [word.replace("smollm2-135m", "tiny") for word in words]
        words += [] if any("batch_size" in word for word in words) else ["--set", "training.batch_size=8"]
    if words[1] == "diagnose":
        words = [*words, "--samples", "4"]
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, f"{shlex.join(words)}\n{result.output}"


def small_store(target: Path) -> Path:
    """Some clips of the demonstration corpus, as `demo` and, under another name, as `mine`."""
    source = FeatureStore.open(demo_store())
    table = source.table("demo")
    rows = [int(row) for split, count in COUNTS.items() for row in table.rows(split)[:count]]
    rows += [row for row, name in enumerate(table.id) if name == SAMPLE and row not in rows]
    (target.parent / "ids.txt").write_text("\n".join(table.id[row] for row in sorted(rows)))
    run(
        [
            "msakit",
            "store",
            "select",
            "demo",
            str(target),
            "--dataset",
            "demo",
            "--ids",
            str(target.parent / "ids.txt"),
        ]
    )
    store = FeatureStore.open(target)
    for name in ("mine", "clips"):
        store.write_table(name, store.table("demo"))
    return target


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything the examples name: stores, pipelines, clips, a pickle, runs."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "examples").symlink_to(ROOT / "examples")
    shutil.copytree(ROOT / "examples" / "clips", folder / "clips")
    manifest = (folder / "clips" / "manifest.csv").read_text().splitlines()
    splits = ["split", "train", "train", "train", "valid", "test", "test"]
    for row, split in zip(range(len(manifest)), splits, strict=True):
        manifest[row] = re.sub(",(split|test),", f",{split},", manifest[row], count=1)
    (folder / "clips" / "manifest.csv").write_text("\n".join(manifest) + "\n")
    (folder / "interviews").mkdir()
    for name in ("clip.mp4", "interview.mp4", "interviews/interview.mp4"):
        shutil.copy(ROOT / "examples" / "clips" / "movie00898.mp4", folder / name)
    store = small_store(folder / "features")
    (folder / "pipeline.yaml").write_text(TINY)
    (folder / "study.yaml").write_text("title: two\npipeline: pipeline.yaml\nsystems: {one: {}, two: {}}\n")
    (folder / "meld.yaml").write_text(TINY.replace("cmpta", "tgm").replace("bilstm", "lstm"))
    run(["msakit", "store", "export", str(store), str(folder / "unaligned_50.pkl"), "--dataset", "demo"])
    made = folder / "runs" / "made"
    run(["msakit", "train", str(folder / "pipeline.yaml"), "--store", str(store), "--output", str(made)])
    for name in RUNS:
        shutil.copytree(made, folder / "runs" / name)
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the examples alone, for commands that read names."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("block", [block for block in COMMANDS if is_light(block)], ids=ids)
def test_commands_that_only_read_names_run(block: Block) -> None:
    for words in block.commands:
        run(words)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("block", [block for block in COMMANDS if not is_light(block)], ids=ids)
def test_commands_run(block: Block, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jinja2")
    copy = tmp_path / "world"
    shutil.copytree(world, copy, symlinks=True)
    monkeypatch.chdir(copy)
    for words in block.commands:
        for folder in ("first", "tgm", "pipeline") if words[1] == "train" else ():
            shutil.rmtree(copy / "runs" / folder, ignore_errors=True)
        run(words)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=ids)
def test_python_runs(block: Block, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "world"
    shutil.copytree(world, copy, symlinks=True)
    (copy / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(copy)
    if block.text.startswith(">>>"):
        session = doctest.DocTestParser().get_doctest(block.text, {}, ids(block), None, block.line)
        assert doctest.DocTestRunner().run(session).failed == 0
        return
    if "msakit.train" in block.text:
        shutil.rmtree(copy / "runs" / "first")
    text = block.text.replace("smollm2-135m", "tiny").replace('store="demo"', 'store="features"')
    (copy / "block.py").write_text(text)
    result = subprocess.run([sys.executable, "block.py"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=ids)
def test_yaml_is_accepted(block: Block, tmp_path: Path) -> None:
    content = yaml.safe_load(block.text)
    if "fuser" in content:
        resolve(parse_pipeline(content, ids(block)), load_registry(discover=False))
    elif isinstance(content.get("pipeline"), str | dict):
        (tmp_path / "my_pipeline.yaml").write_text(TINY)
        (tmp_path / "study.yaml").write_text(block.text)
        read_study(tmp_path / "study.yaml", tmp_path, tmp_path).cells(load_registry(discover=False))
    elif "dataset" in content:
        DatasetChoice.model_validate(content["dataset"])
    elif "backbone" in content:
        parse_pipeline({**yaml.safe_load(TINY), **content}, ids(block))
    else:
        (tmp_path / "registry.yaml").write_text(block.text)
        read_catalogue(tmp_path / "registry.yaml", package="my_package")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "toml"], ids=ids)
def test_toml_is_toml(block: Block) -> None:
    assert tomllib.loads(block.text)


def test_no_block_is_of_a_language_nobody_checks() -> None:
    known = {"", "bash", "console", "python", "yaml", "toml", *SHOWN}
    assert {block.language for block in blocks()} <= known


def test_reasons_are_reasons() -> None:
    assert [ids(block) for block in blocks() if block.why and len(block.why.split()) < 4] == []
