"""Names: layers, patterns, plugins, and what is said of unknown ones."""

from __future__ import annotations

import importlib
import textwrap
import types
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import msakit
from msakit import hookimpl
from msakit.core.errors import ConfigError, InputError, PluginError, UnknownNameError
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.catalogue import Catalogue, read_catalogue
from msakit.core.registry.check import check_registry
from msakit.core.registry.discovery import find_plugins, own_plugins
from msakit.core.registry.plugins import PluginManager
from msakit.core.registry.registry import Registry, load_registry
from msakit.core.registry.specs import BackboneSpec, ComponentSpec, DatasetSpec, Kind
from tests.conftest import tiny_pipeline


def spec(**changes):
    fields = {"kind": Kind.FUSER, "name": "mine.tgm", "target": "a:B", "config": "a:C"}
    return ComponentSpec(**{**fields, **changes})


def test_short_full_and_versioned_names_mean_the_same_component(registry):
    found = [registry.component("fuser", name) for name in ("tgm", "mse_adapter.tgm", "mse_adapter.tgm@1")]
    assert {item.full_name for item in found} == {"mse_adapter.tgm@1"}


@pytest.mark.parametrize("count", [1, 6, 40])
def test_a_count_in_a_name_becomes_a_setting(registry, count):
    choice = registry.choose("injector", f"pseudo{count}", {})
    assert choice.spec.short == "pseudo"
    assert choice.settings.tokens == count


def test_unknown_name_says_what_was_meant_and_how_to_list(registry):
    with pytest.raises(UnknownNameError) as caught:
        registry.component("fuser", "tmg")
    assert "Did you mean: tgm" in str(caught.value)
    assert "msakit components list fuser" in str(caught.value)
    assert isinstance(caught.value, LookupError)


def test_two_plugins_claiming_a_name_are_both_named():
    layers = [
        (1, Catalogue("plugin one", components=(spec(),))),
        (1, Catalogue("plugin two", components=(spec(name="other.tgm"),))),
    ]
    with pytest.raises(InputError, match=r"plugin one.*plugin two"):
        Registry(layers).component("fuser", "tgm")
    assert Registry(layers).component("fuser", "other.tgm").name == "other.tgm"


def test_a_later_layer_wins_and_says_where_it_is(tmp_path, registry):
    file = tmp_path / "registry.yaml"
    file.write_text(
        "components:\n- {kind: fuser, name: mse_adapter.tgm, target: 'x:Y', config: 'x:Z', summary: mine}\n"
    )
    layered = load_registry([file], discover=False)
    found = layered.component("fuser", "tgm")
    assert found.summary == "mine"
    assert layered.origins(found)[-1] == str(file)
    assert len(layered.components("fuser")) == len(registry.components("fuser"))


def test_every_problem_of_a_registry_file_is_reported(tmp_path):
    file = tmp_path / "registry.yaml"
    file.write_text(
        "components:\n- {kind: mixer, name: a.b, target: 'x:Y', config: 'x:Z', colour: red}\nextra: 1\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_catalogue(file)
    assert {key for key, _ in caught.value.problems} == {"components.0.kind", "components.0.colour", "extra"}


PLUGIN = """
from msakit import ComponentSpec, Kind, hookimpl

@hookimpl
def msakit_components():
    yield ComponentSpec(kind=Kind.FUSER, name="halves.halve", target="halves_fuser:Halve",
                        config="halves_fuser:HalveConfig", capabilities={"needs_summary", "gives_tokens"})
"""
FUSER = """
from pydantic import BaseModel
from torch import nn
from msakit.core.tensors import Fused

class HalveConfig(BaseModel):
    factor: float = 0.5

class Halve(nn.Module):
    num_tokens = 1
    def __init__(self, modality_sizes, text_size, factor):
        super().__init__()
        self.output_size, self.factor = text_size, factor
        self.weight = nn.Linear(text_size, text_size)
    def forward(self, text, modalities):
        return Fused(self.weight(text.values.mean(1, keepdim=True)) * self.factor)
"""


def test_one_folder_and_one_registry_entry_add_a_component(tmp_path, monkeypatch, store):
    """The promise of the architecture: nothing of msakit is edited to add a fuser."""
    (tmp_path / "halves_fuser.py").write_text(FUSER)
    (tmp_path / "registry.yaml").write_text(
        textwrap.dedent("""
        components:
        - kind: fuser
          name: halves.halve
          target: halves_fuser:Halve
          config: halves_fuser:HalveConfig
          capabilities: [needs_summary, gives_tokens]
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = load_registry([tmp_path / "registry.yaml"], discover=False)
    config = parse_pipeline(tiny_pipeline(fuser={"name": "halve", "factor": 0.25}), "test")
    from msakit.core.pipeline.builder import build_pipeline
    from msakit.samples.samples import Samples

    resolved = resolve(config, registry)
    samples = Samples.open(store, resolved)
    pipeline = build_pipeline(resolved, registry, widths=samples.widths)
    loss = pipeline(samples.batch(samples.rows("train")[:4]))
    loss.backward()
    assert pipeline.adapter.fuser.factor == 0.25
    assert pipeline.adapter.fuser.weight.weight.grad.abs().sum() > 0


def test_a_file_is_a_plugin_without_a_package(tmp_path):
    file = tmp_path / "halves.py"
    file.write_text(PLUGIN)
    found = load_registry(plugin_files=[file], discover=False).component("fuser", "halve")
    assert found.name == "halves.halve"


def test_a_broken_plugin_file_is_named(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import no_such_module\n")
    with pytest.raises(PluginError, match=r"broken\.py.*no_such_module"):
        PluginManager(files=[file])


class Entry:
    """An installed plugin, as importlib.metadata describes it."""

    dist = None

    def __init__(self, name, module):
        self.name, self._module = name, module

    def load(self):
        if isinstance(self._module, Exception):
            raise self._module
        return self._module


def module_with(**functions):
    module = types.ModuleType("plugin")
    vars(module).update(functions)
    return module


def test_a_broken_installed_plugin_is_reported_and_the_rest_work():
    @hookimpl
    def msakit_components():
        yield spec(name="good.one")

    @hookimpl(specname="msakit_components")
    def fails():
        yield spec(name="bad.one")
        raise RuntimeError("no such file")

    entries = [
        Entry("broken", ImportError("missing library")),
        Entry("failing", module_with(msakit_components=fails)),
        Entry("good", module_with(msakit_components=msakit_components)),
        Entry("misspelt", module_with(msakit_component=msakit_components)),
    ]
    manager = PluginManager(entries)
    offered = [item.name for catalogue in manager.catalogues() for item in catalogue.components]
    errors = {report.name: report.error for report in manager.reports}
    assert offered == ["good.one"]
    assert errors["good"] is None
    assert "missing library" in errors["broken"]
    assert "no such file" in errors["failing"]
    assert "unknown hook 'msakit_component'" in errors["misspelt"]


OWN = ["backbones", "baselines", "cmpta", "egmf", "extractors", "mse_adapter"]


@pytest.mark.parametrize(
    ("value", "loaded"),
    [
        (None, [*OWN, "cmpta", "one", "two"]),
        ("two", [*OWN, "two"]),
        ("", OWN),
        ("-one", [*OWN, "cmpta", "two"]),
        ("two,-egmf", [*(name for name in OWN if name != "egmf"), "two"]),
        ("-cmpta", [*(name for name in OWN if name != "cmpta"), "cmpta", "one", "two"]),
    ],
)
def test_an_environment_variable_chooses_plugins(monkeypatch, value, loaded):
    entries = [EntryPoint(name, f"{name}.plugin", "msakit") for name in ("two", "one", "cmpta")]
    monkeypatch.setattr("msakit.core.registry.discovery.entry_points", lambda group: entries)
    monkeypatch.delenv("MSAKIT_PLUGINS", raising=False)
    if value is not None:
        monkeypatch.setenv("MSAKIT_PLUGINS", value)
    assert [entry.name for entry in find_plugins()] == loaded


def test_leaving_out_a_plugin_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setenv("MSAKIT_PLUGINS", "-cmtpa")
    with pytest.raises(InputError, match=r"cmtpa.*not installed") as caught:
        find_plugins()
    assert "cmpta" in caught.value.hint


def test_every_folder_of_plugins_is_registered_as_one():
    folders = Path(msakit.__file__).parent.glob("plugins/*/__init__.py")
    assert sorted(path.parent.name for path in folders) == OWN == [entry.name for entry in own_plugins()]


def test_metadata_older_than_the_source_says_how_to_renew_it(monkeypatch):
    known = [entry for entry in own_plugins() if entry.name != "egmf"]
    stale = types.SimpleNamespace(entry_points=EntryPoints(known))
    monkeypatch.setattr("msakit.core.registry.discovery.distribution", lambda name: stale)
    with pytest.raises(PluginError, match="does not know its plugins egmf") as caught:
        load_registry(discover=False)
    assert f"pip install --no-deps -e {Path(msakit.__file__).parents[1]}" in caught.value.hint


def test_two_plugins_of_one_name_are_both_reported():
    reports = PluginManager([Entry("one", module_with()), Entry("one", module_with())]).reports
    assert [report.error is None for report in reports] == [True, False]
    assert "MSAKIT_PLUGINS=-one" in reports[1].error


def test_a_plugins_registry_file_names_modules_of_its_own_package(tmp_path, monkeypatch):
    package = tmp_path / "acme"
    package.mkdir()
    (package / "__init__.py").touch()
    source = Path(msakit.__file__).parent / "plugins" / "cmpta" / "plugin.py"
    (package / "plugin.py").write_text(source.read_text())
    (package / "registry.yaml").write_text(
        "components:\n"
        "- {kind: fuser, name: acme.mixer, target: '.mixer:Mixer', config: '.config:MixerConfig'}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    manager = PluginManager([Entry("acme", importlib.import_module("acme.plugin"))])
    (offered,) = manager.catalogues()
    assert offered.origin == "plugin acme (unknown distribution)"
    assert [(s.target, s.config) for s in offered.components] == [
        ("acme.mixer:Mixer", "acme.config:MixerConfig")
    ]


def test_a_registry_file_of_no_package_has_no_relative_modules(tmp_path):
    file = tmp_path / "registry.yaml"
    file.write_text("components:\n- {kind: fuser, name: a.b, target: '.x:Y', config: 'x:Z'}\n")
    with pytest.raises(ConfigError, match=r"a\.b\.target: .*write its full name"):
        read_catalogue(file)


def test_an_unknown_name_is_told_of_broken_plugins():
    manager = PluginManager([Entry("broken", ImportError("missing library"))])
    with pytest.raises(UnknownNameError) as caught:
        Registry([], manager).component("fuser", "theirs")
    assert "plugin broken (unknown distribution) could not be loaded" in str(caught.value)
    assert "missing library" in str(caught.value)


def test_a_plugins_failing_check_names_the_plugin():
    @hookimpl
    def msakit_check_pipeline(pipeline):
        raise KeyError(pipeline)

    manager = PluginManager([Entry("picky", module_with(msakit_check_pipeline=msakit_check_pipeline))])
    with pytest.raises(PluginError, match=r"plugin picky: msakit_check_pipeline failed: KeyError: 'x'"):
        manager.call("msakit_check_pipeline", pipeline="x")


def test_a_third_partys_short_name_does_not_take_over_a_built_in_one(tmp_path):
    file = tmp_path / "acme.py"
    file.write_text(PLUGIN.replace("halves.halve", "acme.tgm"))
    registry = load_registry(plugin_files=[file], discover=False)
    with pytest.raises(InputError, match=r"mse_adapter\.tgm@1 of plugin mse_adapter .*acme\.tgm@1") as caught:
        registry.component("fuser", "tgm")
    assert "Write the full name: mse_adapter.tgm@1 or acme.tgm@1" in caught.value.hint
    assert registry.component("fuser", "acme.tgm").name == "acme.tgm"
    assert [problem for problem in check_registry(registry) if "'tgm' is claimed by" in problem]


@pytest.mark.parametrize("section", ["dataset", "backbone"])
def test_two_owners_of_a_dataset_or_backbone_are_an_error(section):
    specs = {
        "dataset": DatasetSpec("same", "regression", "en", "mosei"),
        "backbone": BackboneSpec("same", weights={}, architecture={}),
    }
    layers = [(0, Catalogue(owner, **{f"{section}s": (specs[section],)})) for owner in ("one", "two")]
    with pytest.raises(InputError, match=r"claimed by same of one and same of two") as caught:
        getattr(Registry(layers), section)("same")
    assert "MSAKIT_PLUGINS=-PLUGIN" in caught.value.hint
    assert getattr(Registry([layers[0], (1, layers[1][1])]), section)("same") == specs[section]


def test_every_shipped_component_can_be_built_from_its_settings(registry):
    assert check_registry(registry) == []
    assert len(registry.components()) >= 20


def test_a_constructor_that_does_not_take_its_settings_is_found(tmp_path, monkeypatch):
    (tmp_path / "halves_wrong.py").write_text(FUSER.replace("factor: float = 0.5", "ratio: float = 0.5"))
    monkeypatch.syspath_prepend(tmp_path)
    wrong = spec(name="halves.wrong", target="halves_wrong:Halve", config="halves_wrong:HalveConfig")
    problems = check_registry(Registry([(0, Catalogue("test", components=(wrong,)))]))
    assert problems == [
        "halves.wrong@1: its constructor does not take ratio",
        "halves.wrong@1: its constructor takes factor, which no setting gives",
    ]
