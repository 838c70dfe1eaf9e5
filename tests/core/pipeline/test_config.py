"""Pipeline files: what they may say, and what is said of what they may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from msakit.core.errors import ConfigError, InputError, UnknownNameError
from msakit.core.files import dump_yaml, parse_value
from msakit.core.pipeline.builder import answer_set, build_adapter, measure_backbone, prompt_template
from msakit.core.pipeline.config import parse_pipeline, read_pipeline
from msakit.core.pipeline.overrides import merge, override
from msakit.core.pipeline.resolution import resolve
from msakit.core.registry.registry import load_registry
from msakit.workflows.study import Study, StudyConfig
from tests.conftest import tiny_pipeline

COUNTS = json.loads((Path(__file__).parents[2] / "golden" / "mse_adapter_parameter_counts.json").read_text())


def problems_of(registry, **changes):
    with pytest.raises(ConfigError) as caught:
        resolve(parse_pipeline(tiny_pipeline(**changes), "test.yaml"), registry)
    return dict(caught.value.problems)


def test_every_unknown_key_is_reported_with_its_path(registry):
    problems = problems_of(registry, training={"epochs": 0, "lr": 1}, colour="red")
    assert set(problems) == {"training.epochs", "training.lr", "colour"}
    assert problems["colour"].startswith("unknown key")


def test_wrong_settings_of_several_components_are_reported_together(registry):
    problems = problems_of(
        registry,
        encoders={"audio": {"name": "lstm", "hiden": 3}, "vision": "lstn"},
        fuser={"name": "tgm", "scales": "many"},
    )
    assert set(problems) == {"encoders.audio.hiden", "encoders.vision", "fuser.scales"}
    assert "Did you mean: lstm" in problems["encoders.vision"]


WRITTEN_OUT = {"name": "mse_adapter.pseudo@2", "tokens": 6}


@pytest.mark.parametrize("name", ["pseudo8", "mse_adapter.pseudo8", "mse_adapter.pseudo8@2"])
def test_a_count_in_a_name_never_loses_to_a_setting_in_silence(registry, name):
    content = override(tiny_pipeline(injector=WRITTEN_OUT), [("injector.name", name)])
    problems = problems_of(registry, injector=content["injector"])
    remedy = "Set it to 8 too, or name the component 'pseudo'."
    assert problems == {"injector.tokens": f"6, but the name '{name}' says 8. {remedy}"}
    agreed = override(content, [("injector.tokens", 8)])["injector"]
    chosen = [
        resolve(parse_pipeline(tiny_pipeline(injector=injector), "test"), registry).injector
        for injector in (name, agreed, "pseudo8")
    ]
    assert chosen[0] == chosen[1] == chosen[2]
    assert chosen[0].settings.tokens == 8


def test_a_count_in_a_plugins_name_is_held_to_the_same(registry, tmp_path):
    file = tmp_path / "registry.yaml"
    file.write_text(
        "components:\n- {kind: injector, name: mine.grid, pattern: 'grid{prefix_tokens}x{tokens}',"
        " target: 'msakit.plugins.egmf.injector:RepeatedTokens', capabilities: [needs_tokens],"
        " config: 'msakit.plugins.egmf.config:RepeatConfig'}\n"
    )
    layered = load_registry([file], discover=False)
    named = layered.choose("injector", "grid2x3", {"tokens": 3, "suffix_tokens": 1}).settings
    assert (named.prefix_tokens, named.tokens, named.suffix_tokens) == (2, 3, 1)
    assert layered.choose("injector", "mine.grid2x3", {}).settings.tokens == 3
    assert set(problems_of(layered, injector={"name": "grid2x3", "prefix_tokens": 1, "tokens": 4})) == {
        "injector.prefix_tokens",
        "injector.tokens",
    }


def test_a_grid_over_names_with_counts_is_refused_where_the_pipeline_sets_the_count(registry, tmp_path):
    grid = {"injector.name": ["pseudo6", "pseudo8"]}
    config = StudyConfig(pipeline=tiny_pipeline(), grid=grid, seeds=[1])
    study = Study(config, tiny_pipeline(injector=WRITTEN_OUT), tmp_path, tmp_path / "runs")
    with pytest.raises(ConfigError, match=r"system 'injector.name=pseudo8'(?s:.*)the name 'pseudo8' says 8"):
        study.cells(registry)
    assert not (tmp_path / "runs").exists()
    free = {"name": "mse_adapter.pseudo@2", "rms": 0.1}
    cells = Study(config, tiny_pipeline(injector=free), tmp_path, tmp_path / "runs").cells(registry)
    settings = [cell.resolved.injector.settings for cell in cells]
    assert [(each.tokens, each.rms) for each in settings] == [(6, 0.1), (8, 0.1)]


def test_a_backbone_says_whether_it_is_frozen(registry):
    def frozen(**backbone):
        config = parse_pipeline(tiny_pipeline(backbone={"name": "tiny", **backbone}), "test")
        return resolve(config, registry).backbone_is_frozen

    assert frozen()
    assert not frozen(adaptation="lora")


def test_one_unknown_name_is_an_unknown_name_error(registry):
    with pytest.raises(UnknownNameError, match=r"Unknown backbone 'qwen-1\.9b'"):
        resolve(parse_pipeline(tiny_pipeline(backbone="qwen-1.9b"), "test"), registry)


def test_a_fuser_that_needs_sequences_refuses_summaries_and_names_what_fits(registry):
    problems = problems_of(registry, fuser="cmpta")
    assert set(problems) == {"encoders.audio", "encoders.vision"}
    assert "bilstm" in problems["encoders.audio"]


def test_a_fuser_without_tokens_refuses_an_injector_that_needs_them(registry):
    assert "injector" in problems_of(registry, fuser="none", encoders={})


def test_a_modality_the_dataset_does_not_have_is_refused(registry):
    problems = problems_of(registry, dataset="mosei", encoders={"pulse": "lstm"})
    assert "audio, vision" in problems["encoders.pulse"]


def test_a_folder_without_a_model_is_refused(registry, tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        resolve(parse_pipeline(tiny_pipeline(backbone=str(tmp_path)), "test"), registry)


def test_a_new_dataset_describes_itself(registry):
    dataset = {
        "name": "mine",
        "task": "classification",
        "language": "en",
        "metrics": "erc",
        "labels": ["calm", "cross"],
        "prompts": {"task": "Mood:"},
    }
    resolved = resolve(parse_pipeline(tiny_pipeline(dataset=dataset), "test"), registry)
    assert answer_set(resolved).texts == ("0", "1")
    problems = problems_of(registry, dataset={**dataset, "labels": ["calm"]})
    assert "at least two" in problems["dataset.labels"]


def test_the_saved_pipeline_has_full_names_and_resolves_to_itself(registry, resolved):
    content = resolved.as_yaml()
    assert content["fuser"]["name"] == "mse_adapter.tgm@1"
    assert content["injector"] == {
        "name": "mse_adapter.pseudo@2",
        "tokens": 2,
        "expansion": "auto",
        "rms": None,
    }
    again = resolve(parse_pipeline(content, "saved"), registry)
    assert dump_yaml(again.as_yaml()) == dump_yaml(content)


def test_overrides_turn_a_bare_name_into_a_mapping():
    content = override({"fuser": "tgm"}, [("fuser.text_guide", False), ("training.epochs", 3)])
    assert content == {"fuser": {"name": "tgm", "text_guide": False}, "training": {"epochs": 3}}


def test_a_component_named_anew_drops_the_settings_of_the_old_one():
    base = {"fuser": {"name": "tgm", "scales": [4]}, "backbone": "tiny"}
    assert merge(base, {"fuser": {"name": "sum"}})["fuser"] == {"name": "sum"}
    assert merge(base, {"fuser": "tgm"})["fuser"] == {"name": "tgm", "scales": [4]}
    assert merge(base, {"backbone": {"dtype": "bfloat16"}})["backbone"] == {
        "name": "tiny",
        "dtype": "bfloat16",
    }


@pytest.mark.parametrize(
    ("text", "value"), [("5e-4", 5e-4), ("3", 3), ("true", True), ("[1, 2]", [1, 2]), ("tgm", "tgm")]
)
def test_values_are_read_as_people_mean_them(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize("text", ["a: [", "- a list\n", "\tx: 1"])
def test_a_file_that_is_no_pipeline_is_named(tmp_path, text):
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"pipeline\.yaml"):
        read_pipeline(file)


@pytest.mark.parametrize("row", COUNTS, ids=lambda row: f"{row['backbone']}-{row['dataset']}")
def test_parameter_counts_are_the_papers(registry, row):
    """Counted on the meta device, from architecture facts alone (golden from the released code)."""
    content = tiny_pipeline(
        dataset=row["dataset"],
        backbone=row["backbone"],
        injector=f"pseudo{row['pseudo_tokens']}",
        encoders={
            name: {"name": "lstm", "hidden_size": row[f"{name}_hidden"]} for name in ("audio", "vision")
        },
    )
    resolved = resolve(parse_pipeline(content, "test"), registry)
    facts = measure_backbone(resolved, registry)
    adapter = build_adapter(
        resolved, registry, widths=resolved.dataset.features, hidden_size=facts.hidden_size, device="meta"
    )
    assert facts.hidden_size == row["hidden_size"]
    assert sum(adapter.count_parameters().values()) == row["trainable_parameters"]
    assert all(parameter.is_meta for parameter in adapter.parameters())


def test_wording_follows_dataset_and_backbone(registry):
    def template(dataset, backbone):
        return prompt_template(
            resolve(parse_pipeline(tiny_pipeline(dataset=dataset, backbone=backbone), "t"), registry)
        )

    assert template("mosei", "qwen-1.8b").task.endswith("[-3.0, +3.0]. Assistant: The sentiment is")
    assert template("mosei", "chatglm3-6b").task.endswith("[-3.0, 3.0]. response: The sentiment is")
    assert template("simsv2", "chatglm3-6b").open_tag == "{问题}\n\n <多模态>"
    assert template("cherma", "qwen-1.8b").open_tag == "<多模态>"


@pytest.mark.parametrize(
    ("backbone", "text"), [("qwen-1.8b", "+1.2"), ("chatglm3-6b", "1.2"), ("llama2-7b", "1.2")]
)
def test_scores_are_written_as_the_backbone_was_trained_to(registry, backbone, text):
    resolved = resolve(parse_pipeline(tiny_pipeline(dataset="mosei", backbone=backbone), "t"), registry)
    assert answer_set(resolved).text_of(1.2) == text
