"""Names: layers, patterns, plugins, and what is said of unknown ones."""

from __future__ import annotations

import textwrap

import pytest

from msakit.core.errors import ConfigError, InputError, PluginError, UnknownNameError
from msakit.core.pipeline.config import parse_pipeline
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.catalogue import Catalogue, read_catalogue
from msakit.core.registry.check import check_registry
from msakit.core.registry.plugins import PluginManager
from msakit.core.registry.registry import Registry, load_registry
from msakit.core.registry.specs import ComponentSpec, Kind
from tests.conftest import tiny_pipeline


def spec(**changes):
    fields = {"kind": Kind.FUSER, "name": "mine.tgm", "target": "a:B", "config": "a:C"}
    return ComponentSpec(**{**fields, **changes})


def test_short_full_and_versioned_names_mean_the_same_component(registry):
    found = [
        registry.component("fuser", name).spec for name in ("tgm", "mse_adapter.tgm", "mse_adapter.tgm@1")
    ]
    assert {item.full_name for item in found} == {"mse_adapter.tgm@1"}


@pytest.mark.parametrize("count", [1, 6, 40])
def test_a_count_in_a_name_becomes_a_setting(registry, count):
    match = registry.component("injector", f"pseudo{count}")
    assert match.spec.short == "pseudo"
    assert match.settings == {"tokens": count}


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
    assert Registry(layers).component("fuser", "other.tgm").spec.name == "other.tgm"


def test_a_later_layer_wins_and_says_where_it_is(tmp_path, registry):
    file = tmp_path / "registry.yaml"
    file.write_text(
        "components:\n- {kind: fuser, name: mse_adapter.tgm, target: 'x:Y', config: 'x:Z', summary: mine}\n"
    )
    layered = load_registry([file], discover=False)
    found = layered.component("fuser", "tgm").spec
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
    assert (
        load_registry(plugin_files=[file], discover=False).component("fuser", "halve").spec.name
        == "halves.halve"
    )


def test_a_broken_plugin_file_is_named(tmp_path):
    file = tmp_path / "broken.py"
    file.write_text("import no_such_module\n")
    with pytest.raises(PluginError, match=r"broken\.py.*no_such_module"):
        PluginManager([file], discover=False)


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
    import types

    module = types.ModuleType("plugin")
    vars(module).update(functions)
    return module


def test_a_broken_installed_plugin_is_reported_and_the_rest_work(monkeypatch):
    from msakit.core.hooks import hookimpl

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
    monkeypatch.setattr("msakit.core.registry.plugins.entry_points", lambda group: entries)
    manager = PluginManager()
    offered = [item.name for catalogue in manager.catalogues() for item in catalogue.components]
    errors = {report.name: report.error for report in manager.reports}
    assert offered == ["good.one"]
    assert errors["good"] is None
    assert "missing library" in errors["broken"]
    assert "no such file" in errors["failing"]
    assert "unknown hook 'msakit_component'" in errors["misspelt"]


def test_an_environment_variable_restricts_plugins(monkeypatch):
    entries = [Entry("one", module_with()), Entry("two", module_with())]
    monkeypatch.setattr("msakit.core.registry.plugins.entry_points", lambda group: entries)
    monkeypatch.setenv("MSAKIT_PLUGINS", "two")
    assert [report.name for report in PluginManager().reports] == ["two"]


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
