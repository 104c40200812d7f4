"""Adapters: their base stays as it is, and a checkpoint of one is a model to start from."""

import json
import math
from pathlib import Path

import pytest
import torch
from conftest import TOY, command, configured, hub_with_two_revisions

from src.common.errors import UserError
from src.experiment.announce import warnings
from src.model.adapters import merged_weights
from src.model.architecture import architecture
from src.model.load import fingerprint, load_model, load_tokenizer, peft_config, resolve

LORA = "model.lora={rank: 4, alpha: 8}"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("src.model.adapters.CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def adapted(*overrides, lora=LORA):
    """The embedded model under an adapter that has learnt something."""
    import peft

    config = configured(lora, *overrides).model
    model = peft.get_peft_model(load_model(config), peft_config(config))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.01)
            if "magnitude" in name:
                weight.mul_(1 + 0.1 * torch.rand_like(weight))
    return model


def test_base_and_adapter_are_as_they_were_after_any_number_of_pushes():
    model = adapted("model.dtype=bfloat16")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    pushes = [dict(merged_weights(model)) for _ in range(20)]
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(torch.equal(weight, pushes[19][name]) for name, weight in pushes[0].items())


def test_what_is_pushed_is_the_sum_rounded_once_under_the_names_of_the_plain_model():
    model = adapted("model.dtype=bfloat16")
    pushed, plain = dict(merged_weights(model)), load_model(configured("model.dtype=bfloat16").model)
    assert pushed.keys() == dict(plain.named_parameters()).keys()
    layer, name = model.get_submodule("base_model.model.model.layers.1.mlp.up_proj"), "model.layers.1.mlp.up_proj.weight"
    exact = layer.base_layer.weight.float() + 2.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight  # alpha / rank
    assert torch.equal(pushed[name], exact.bfloat16()) and not torch.equal(pushed[name], layer.base_layer.weight)
    assert torch.equal(pushed["model.norm.weight"], plain.model.norm.weight)


KINDS = {
    "dora": "model.lora={rank: 4, alpha: 8, use_dora: true}",
    "rslora": "model.lora={rank: 16, alpha: 8, use_rslora: true}",
    "patterns": "model.lora={rank: 4, alpha: 8, rank_pattern: {up_proj: 2}, layers_to_transform: [0], target_modules: [up_proj, down_proj], init_lora_weights: gaussian}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_adapter_is_pushed_saved_and_merged_as_what_is_trained(kind, cache, tmp_path):
    model, ids = adapted(lora=KINDS[kind]), torch.tensor([[5, 6, 7, 8]])
    trained = model(ids).logits
    plain = load_model(configured().model)
    assert not torch.allclose(plain(ids).logits, trained, atol=1e-2)
    plain.load_state_dict(dict(merged_weights(model)), strict=False)  # tied weights are pushed once
    assert torch.allclose(plain(ids).logits, trained, atol=1e-4)
    model.save_pretrained(tmp_path / "adapter")
    assert torch.allclose(load_model(configured(f"model.path={tmp_path / 'adapter'}").model)(ids).logits, trained, atol=1e-4)


def test_rank_stabilised_adapters_are_scaled_by_the_root_of_the_rank():
    layer = adapted(lora=KINDS["rslora"]).get_submodule("base_model.model.model.layers.1.mlp.up_proj")
    delta = 8 / 16**0.5 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    assert torch.allclose(layer.get_delta_weight("default"), delta)


def test_a_fresh_adapter_of_any_kind_counts_as_its_base():
    import peft

    bare = fingerprint(load_model(configured().model))
    for lora in KINDS.values():
        config = configured(lora).model
        assert fingerprint(peft.get_peft_model(load_model(config), peft_config(config))) == bare


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("use_dorra: true", "model.lora: no field use_dorra in PEFT's LoraConfig; did you mean use_dora?"),
        ("r: 8", "model.lora: r is set through rank"),
        ("use_dora: often", "model.lora: use_dora: must be bool, not 'often'"),
        ("modules_to_save: [lm_head]", "model.lora: modules_to_save: it changes more than adapters"),
        ("init_lora_weights: pissa", "model.lora: init_lora_weights: it changes more than adapters"),
    ],
)
def test_a_field_that_peft_does_not_have_or_that_cannot_be_carried_is_named(given, says):
    with pytest.raises(UserError) as error:
        configured(f"model.lora={{rank: 4, alpha: 8, {given}}}")
    assert says in str(error.value)


def test_an_adapters_folder_is_merged_into_its_base(cache, tmp_path):
    model = adapted()
    model.save_pretrained(tmp_path / "adapter")
    config = configured(f"model.path={tmp_path / 'adapter'}", LORA).model
    assert architecture(config) == architecture(configured().model)  # for the plan, before anything is merged
    assert load_tokenizer(config).chat_template == load_tokenizer(configured().model).chat_template
    merged = load_model(config)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.allclose(merged(ids).logits, model(ids).logits, atol=1e-4)
    assert resolve(config) == merged.name_or_path and Path(resolve(config)).parent == cache  # where vLLM finds it


def test_an_adapter_whose_base_is_gone_says_so(cache, tmp_path):
    adapted().save_pretrained(tmp_path / "adapter")
    settings = tmp_path / "adapter" / "adapter_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"base_model_name_or_path": "./gone"}))
    with pytest.raises(UserError, match="gone holds no model"):
        load_tokenizer(configured(f"model.path={tmp_path / 'adapter'}").model)


@pytest.mark.parametrize(("name", "content"), [("adapter_config.json", "{"), ("adapter_config.json", "{}"), ("adapter_model.safetensors", None)])
def test_an_adapter_that_is_not_whole_is_one_line(name, content, cache, tmp_path):
    adapted().save_pretrained(tmp_path / "adapter")
    place = tmp_path / "adapter" / name
    place.unlink() if content is None else place.write_text(content)
    with pytest.raises(UserError, match="give a whole adapter's folder$"):
        architecture(configured(f"model.path={tmp_path / 'adapter'}").model)


def test_an_adapter_whose_weights_are_damaged_is_one_line(cache, tmp_path):
    adapted().save_pretrained(tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="adapter_model.safetensors is damaged .*give a whole adapter's folder$"):
        load_model(configured(f"model.path={tmp_path / 'adapter'}").model)


def test_adapters_have_a_learning_rate_of_their_own_unless_one_is_given():
    full = configured().lr.peak
    assert math.isclose(configured(LORA).lr.peak, 10 * full)
    assert configured(LORA, "lr.peak=3e-4").lr.peak == 3e-4
    assert math.isclose(configured(LORA, "+experiment=efficient", "scale=open_rs").lr.peak, 5e-5)


def test_that_vllm_rounds_adapters_is_said():
    config = configured(LORA, "model.dtype=bfloat16", "rollout=vllm_colocate")
    assert any("rounds small adapters away" in said for said in warnings(config, None))
    for exact in (configured(LORA, "model.dtype=bfloat16"), configured(LORA, "rollout=vllm_colocate")):
        assert not warnings(exact, None)


def test_a_run_starts_from_the_checkpoint_of_an_adapter(cache, command_here, tmp_path):
    """It says that it merged it, and what it measures before is what the other run had learnt."""
    toy = ("+experiment=mix_easy_hard", *TOY, LORA, "scale.steps=2", f"output_root={tmp_path}")
    first = command_here(*toy, f"run_dir={tmp_path}/one")
    assert first.returncode == 0, first.stderr
    adapter = tmp_path / "one" / "checkpoints" / "checkpoint-2"
    second = command_here(*toy, f"run_dir={tmp_path}/two", f"model.path={adapter}")
    assert second.returncode == 0, second.stderr
    assert "is merged into its base" in second.stdout
    one, two = (json.loads((tmp_path / name / "summary.json").read_text())["evaluation"]["chains"] for name in ("one", "two"))
    assert two["before"]["accuracy"] == one["after"]["accuracy"]


def test_the_reference_is_of_the_policys_revision(tmp_path):
    """On a repository whose main branch has other weights the divergence is 0 before the first step all the same."""
    name, revision = hub_with_two_revisions(tmp_path / "hub")
    result = command(
        "+experiment=mix_easy_hard", *TOY, "scale.steps=1", f"model.path={name}", f"model.revision={revision}",
        "algorithm.settings.beta=0.1", f"output_root={tmp_path}", f"run_dir={tmp_path}/run", cwd=tmp_path,
        HF_HUB_CACHE=str(tmp_path / "hub"), HF_HUB_OFFLINE="1",
    )
    assert result.returncode == 0, result.stderr
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert line["kl"] == pytest.approx(0.0, abs=1e-6)
