"""Plugins and registry files that do what they should not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import msakit
from msakit.core.errors import ConfigError, InputError, PluginError
from msakit.core.hooks import hookimpl
from msakit.core.registry import registry as registry_module
from msakit.core.registry.catalogue import Catalogue, read_catalogue
from msakit.core.registry.check import check_registry
from msakit.core.registry.plugins import PluginManager
from msakit.core.registry.registry import Registry, load_registry
from msakit.core.registry.specs import ComponentSpec, Kind

SOURCE = Path(msakit.__file__).parents[1]


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no")


class Odd(BaseException):
    pass


class Entry:
    """An installed plugin whose import does something."""

    dist = None

    def __init__(self, name, act):
        self.name, self.module, self._act = name, name, act

    def load(self):
        self._act()
        return types.ModuleType("plugin")


def raising(error):
    def act():
        raise error

    return act


def noisy():
    print("hello from a plugin")
    sys.stdout.write("more\n")
    os.write(1, b"past python\n")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (raising(SystemExit(0)), "ends the program"),
        (raising(SystemExit("bye")), "bye"),
        (raising(Odd("odd")), "Odd: odd"),
        (raising(GeneratorExit()), "GeneratorExit"),
        (raising(Speechless()), "Speechless"),
        (raising(SyntaxError("bad")), "SyntaxError: bad"),
        (raising(RecursionError("deep")), "RecursionError"),
        (raising(MemoryError()), "MemoryError"),
        (raising(ValueError("x" * 10**6)), "ValueError: xxx"),
    ],
)
def test_whatever_a_plugin_raises_is_named_and_the_rest_go_on(act, said):
    manager = PluginManager([Entry("bad", act), Entry("good", lambda: None)])
    bad, good = manager.reports
    assert said in bad.error
    assert len(bad.error) < 1000
    assert good.error is None


def test_ctrl_c_while_plugins_load_stays_ctrl_c():
    with pytest.raises(KeyboardInterrupt):
        PluginManager([Entry("slow", raising(KeyboardInterrupt()))])


def test_what_a_plugin_prints_spoils_no_data_and_is_named(capfd):
    manager = PluginManager([Entry("noisy", noisy)])
    out, err = capfd.readouterr()
    assert out == ""
    assert "past python" in err
    assert manager.reports[0].printed == "hello from a plugin\nmore\n"
    assert check_registry(Registry([], manager)) == [
        "plugin noisy (unknown distribution): prints at load time: hello from a plugin"
    ]


def hooked(**hooks):
    module = types.ModuleType("hooked")
    for name, function in hooks.items():
        setattr(module, name, hookimpl(function))
    entry = Entry("hooked", lambda: None)
    entry.load = lambda: module
    return PluginManager([entry])


def test_hooks_that_exit_or_print_are_contained(capfd):
    def msakit_run_finished(record):
        print("tracking")
        raise SystemExit(3)

    def msakit_check_pipeline(pipeline):
        raise SystemExit(0)

    manager = hooked(msakit_run_finished=msakit_run_finished, msakit_check_pipeline=msakit_check_pipeline)
    (failure,) = manager.notify("msakit_run_finished", record={})
    assert "hooked" in failure
    assert "ends the program" in failure
    assert capfd.readouterr().out == ""
    with pytest.raises(PluginError, match="ends the program"):
        manager.call("msakit_check_pipeline", pipeline=None)


def registry_of(spec):
    return Registry([(0, Catalogue("test", components=(spec,)))])


def test_a_component_module_that_exits_is_named(tmp_path, monkeypatch):
    (tmp_path / "exits_at_import.py").write_text("print('x')\nraise SystemExit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = ComponentSpec(Kind.FUSER, "a.b", "exits_at_import:B", "exits_at_import:C")
    with pytest.raises(PluginError, match="ends the program"):
        registry_of(spec).load_target(spec)


@pytest.mark.parametrize("pattern", ["p{a}{a}", "p{a}x{a}", "p{a}{b}"])
def test_patterns_that_cannot_be_told_apart_are_refused(pattern):
    with pytest.raises(ValueError, match="pattern"):
        ComponentSpec(Kind.FUSER, "a.b", "m:T", "m:C", pattern=pattern)


def test_a_count_of_thousands_of_digits_is_no_name():
    spec = ComponentSpec(Kind.FUSER, "a.b", "m:T", "m:C", pattern="p{a}")
    assert spec.match("p" + "9" * 5000) is None
    assert spec.match("p999999999") == {"a": 999_999_999}


# registry.yaml files

EVIL = """
components:
- {kind: fuser, name: evil.evil, target: "evil_module:Evil", config: "evil_module:EvilConfig"}
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a registry.yaml and a module that leaves a trace when it is imported."""
    (tmp_path / "registry.yaml").write_text(EVIL)
    (tmp_path / "evil_module.py").write_text("open('ran', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry_module, "USER_FILE", tmp_path / "nobody" / "registry.yaml")
    return tmp_path


def test_a_registry_found_in_the_folder_imports_nothing_unasked(project, monkeypatch):
    monkeypatch.syspath_prepend(project)
    found = load_registry().component("fuser", "evil")
    with pytest.raises(InputError, match="which no plugin brings") as refused:
        load_registry().load_target(found)
    assert "--registry registry.yaml" in refused.value.hint
    assert not (project / "ran").exists()
    for asked in (Path("registry.yaml"), project / "registry.yaml"):
        with pytest.raises(PluginError, match="cannot be imported"):
            load_registry([asked]).load_target(found)
    assert (project / "ran").exists()


def test_a_registry_found_in_the_folder_may_name_what_plugins_bring(project):
    (project / "registry.yaml").write_text(
        EVIL.replace("evil_module:EvilConfig", "msakit.x:Y").replace("evil_module:Evil", "subprocess:Popen")
    )
    with pytest.raises(InputError, match="subprocess:Popen"):
        load_registry().load_target(load_registry().component("fuser", "evil"))
    own = load_registry(discover=False).component("fuser", "tgm")
    (project / "registry.yaml").write_text(
        f"components:\n- {{kind: fuser, name: mine.tgm, target: '{own.target}', config: '{own.config}'}}\n"
    )
    registry = load_registry()
    assert registry.load_config_class(registry.component("fuser", "mine.tgm")).model_fields


@pytest.mark.parametrize("arguments", [["components", "show", "evil"], ["build", "--fuser", "evil"]])
def test_python_dash_m_imports_nothing_from_the_folder(project, arguments):
    environment = {
        **os.environ,
        "PYTHONPATH": str(SOURCE),
        "HOME": str(project),
        "XDG_CONFIG_HOME": str(project),
    }
    for name in ("typer", "yaml", "pydantic", "pathlib", "json"):
        (project / f"{name}.py").write_text("open('ran', 'w').close()\n")
    result = subprocess.run(
        [sys.executable, "-m", "msakit", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert "--registry registry.yaml" in result.stderr
    assert not (project / "ran").exists()


def test_only_the_users_own_registry_trusts_code(project, monkeypatch):
    monkeypatch.setattr("msakit.core.trust._trusted", set())
    text = "trust_remote_code: [ORG/NAME]\n"
    (project / "registry.yaml").write_text(text)
    with pytest.raises(ConfigError, match="trusted by"):
        load_registry()
    with pytest.raises(ConfigError, match="trusted by"):
        load_registry([project / "registry.yaml"])
    from msakit.core.trust import CodeSource

    assert not CodeSource.repository("ORG/NAME", None).trusted
    (project / "registry.yaml").unlink()
    (project / "nobody").mkdir()
    (project / "nobody" / "registry.yaml").write_text(text)
    load_registry()
    assert CodeSource.repository("ORG/NAME", None).trusted


def test_a_config_that_is_no_model_is_named():
    spec = ComponentSpec(Kind.FUSER, "a.b", "json:dumps", "json:dumps")
    with pytest.raises(PluginError, match="not a pydantic model"):
        registry_of(spec).load_config_class(spec)


def test_a_table_of_recipes_without_end_is_refused(tmp_path):
    names = [f"b{index}" for index in range(300)]
    content = {
        "name": "bomb",
        "matrix": {f"d{index}": names for index in range(300)},
        "pipeline": {f"k{index}": 1 for index in range(1000)},
    }
    (tmp_path / "registry.yaml").write_text(json.dumps({"recipes": [content]}))
    with pytest.raises(ConfigError, match="90,000 recipes"):
        read_catalogue(tmp_path / "registry.yaml")
