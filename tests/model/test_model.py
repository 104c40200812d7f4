"""Loading, comparing and restoring weights."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import trl
from conftest import configured
from safetensors.torch import save_file

from src.common.errors import UserError
from src.data.prompt import NO_PROMPT, prompt_token_ids
from src.model.architecture import architecture, config_json
from src.model.load import (
    fingerprint,
    generation_not_followed,
    load_model,
    load_tokenizer,
    load_weights,
    peft_config,
    resolve,
    with_values,
)
from src.model.places import EMBEDDED


def test_a_folder_without_a_model_is_named(tmp_path):
    config = configured(f"model.path={tmp_path}")
    with pytest.raises(UserError, match="holds no model"):
        load_model(config.model)


def test_a_model_that_the_hub_does_not_give_points_to_the_folder_option(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(UserError, match="model.path=<folder>"):
        load_tokenizer(configured("model.path=nobody/nothing").model)


def test_the_fingerprint_follows_the_weights_and_only_them():
    one, same = load_model(configured().model), load_model(configured().model)
    assert fingerprint(one) == fingerprint(same)
    with torch.no_grad():
        next(same.parameters())[0, 0] += 1e-3
    assert fingerprint(one) != fingerprint(same)


def copied_with(folder, **settings):
    """The embedded model with further settings in its generation_config.json."""
    shutil.copytree(EMBEDDED["embedded/micro"], folder)
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return load_model(configured(f"model.path={folder}").model)


@pytest.mark.parametrize(
    "settings",
    [{"min_p": 0.3}, {"repetition_penalty": 1.3}, {"no_repeat_ngram_size": 3}, {"typical_p": 0.4}, {"suppress_tokens": [5, 6, 7]},
     {"top_k": 1}, {"temperature": 0.1}],
)
def test_the_models_own_generation_config_changes_no_sample(settings, tmp_path):
    config = configured()
    tokenizer = load_tokenizer(config.model)
    ids = torch.tensor([prompt_token_ids(tokenizer, config.prompt, "7 + 5 - 3 = ?")] * 4)

    def samples(model):
        torch.manual_seed(0)
        given = {"do_sample": True, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_new_tokens": 24}
        return model.generate(ids, attention_mask=torch.ones_like(ids), **given).tolist()

    other = copied_with(tmp_path / "copy", **settings)
    assert samples(other) == samples(load_model(config.model))
    assert generation_not_followed(other) == {
        name: value for name, value in settings.items() if name not in ("top_k", "temperature")  # the configuration sets these
    }


def test_a_checkpoint_keeps_the_models_own_generation_config(toy_run):
    newest = max((toy_run / "checkpoints").glob("checkpoint-*"))
    kept, shipped = (
        json.loads((folder / "generation_config.json").read_text()) for folder in (newest, EMBEDDED["embedded/micro"])
    )
    assert {key: kept[key] for key in ("temperature", "top_k", "top_p")} == {key: shipped[key] for key in ("temperature", "top_k", "top_p")}


def test_a_fresh_adapter_counts_as_its_base_and_a_trained_one_does_not():
    import peft

    config = configured("model.lora={rank: 2, alpha: 4}").model
    base = load_model(config)
    adapted = peft.get_peft_model(load_model(config), peft_config(config))
    assert fingerprint(adapted) == fingerprint(base)
    with torch.no_grad():
        next(tensor for name, tensor in adapted.named_parameters() if "lora_B" in name).add_(1.0)
    assert fingerprint(adapted) != fingerprint(base)


def test_weights_come_back_from_a_checkpoint(tmp_path):
    model = load_model(configured().model)
    model.save_pretrained(tmp_path)
    before = fingerprint(model)
    with torch.no_grad():
        next(model.parameters()).zero_()
    load_weights(model, tmp_path)
    assert fingerprint(model) == before


def test_weights_of_another_model_are_refused(tmp_path):
    save_file({"something.else": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match="does not fit"):
        load_weights(load_model(configured().model), tmp_path)


def test_random_weights_have_the_architecture_and_are_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr("src.model.random_init.CACHE", tmp_path)
    config = configured("model.init=random").model
    one, again = load_model(config), load_model(config)
    assert one.num_parameters() == pytest.approx(load_model(configured().model).num_parameters(), rel=1e-3)
    assert fingerprint(one) == fingerprint(again) != fingerprint(load_model(configured().model))
    (folder,) = tmp_path.iterdir()  # for the reference model and for vLLM, which load by path
    assert resolve(config) == str(folder) and one.config.eos_token_id == load_tokenizer(config).eos_token_id


def test_random_weights_of_a_size_of_the_ladder_need_no_pre_training(tmp_path, monkeypatch):
    monkeypatch.setattr("src.model.random_init.CACHE", tmp_path)
    model = load_model(configured("model=micro_1m", "model.init=random", "model.tokenizer=embedded/micro").model)
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (4, 160)


def test_a_known_architecture_needs_no_hub_but_a_tokenizer(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    config = configured("model=deepseek_r1_distill_qwen_1_5b", "model.init=random").model
    with pytest.raises(UserError, match="model.tokenizer=embedded/micro"):
        load_tokenizer(config)
    with_another = configured("model=deepseek_r1_distill_qwen_1_5b", "model.init=random", "model.tokenizer=embedded/micro")
    assert load_tokenizer(with_another.model).eos_token == "<|im_end|>"
    assert architecture(with_another.model).hidden == 1536


def test_an_embedded_model_that_is_not_made_says_how(monkeypatch, tmp_path):
    monkeypatch.setitem(EMBEDDED, "embedded/micro_large", tmp_path)
    with pytest.raises(UserError, match="--size large"):
        resolve(configured("model.path=embedded/micro_large").model)


TRL_TEMPLATES = Path(trl.__file__).parent / "chat_templates"


@pytest.mark.parametrize(
    ("name", "millions"),  # as their cards say
    [("qwen3_0_6b", 596), ("qwen3_1_7b", 1721), ("smollm2_135m", 134.5), ("smollm2_360m", 361.8),
     ("qwen2_5_0_5b", 494), ("qwen2_5_1_5b", 1544), ("deepseek_r1_distill_qwen_1_5b", 1777)],
)
def test_small_models_are_known_without_a_hub(name, millions, monkeypatch):
    from transformers import AutoConfig, AutoModelForCausalLM

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    config = configured(f"model={name}").model
    shape = architecture(config)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config_json(config)))
    assert shape.parameters == model.num_parameters() == pytest.approx(millions * 1e6, rel=2e-3)
    assert type(model).__name__ == config_json(config)["architectures"][0]


def asked(template, **values):
    """The prompt that a chat template makes of one question, through transformers."""
    from transformers.utils.chat_template_utils import render_jinja_template

    question = [[{"role": "user", "content": "1 + 1?"}]]
    return render_jinja_template(question, chat_template=template, add_generation_prompt=True, **values)[0][0]


def test_thinking_is_turned_off_in_the_template_itself():
    template = (TRL_TEMPLATES / "qwen3.jinja").read_text()  # Qwen3's own
    off = with_values(template, configured("model=qwen3_0_6b", "model.chat_template_kwargs.enable_thinking=false").model.chat_template_kwargs)
    on = with_values(template, configured("model=qwen3_0_6b").model.chat_template_kwargs)
    assert asked(on) == asked(template) and asked(on).endswith("<|im_start|>assistant\n")
    assert asked(off) == asked(template, enable_thinking=False) and asked(off).endswith("<think>\n\n</think>\n\n")
    assert asked(off, enable_thinking=True) == asked(template)  # who asks for it gets it
    assert with_values(template, {}) == template
    with pytest.raises(UserError, match="has no enable_thinkin$"):
        with_values(template, {"enable_thinkin": False})


def test_a_value_for_the_chat_template_goes_with_the_model(tmp_path):
    source = tmp_path / "model"
    shutil.copytree(EMBEDDED["embedded/micro"], source)
    template = load_tokenizer(configured().model).chat_template
    for file in source.glob("chat_template*"):
        file.unlink()
    settings = json.loads((source / "tokenizer_config.json").read_text())
    closing = "{% if add_generation_prompt and not thoughts %}No thoughts. {% endif %}"
    (source / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template + closing}))
    tokenizer = load_tokenizer(configured(f"model.path={source}", "+model.chat_template_kwargs.thoughts=true").model)
    shutil.copytree(source, tmp_path / "trained")
    tokenizer.save_pretrained(tmp_path / "trained")
    trained = load_tokenizer(configured(f"model.path={tmp_path / 'trained'}").model)
    bare = load_tokenizer(configured(f"model.path={source}").model)
    asked_by = [tokenizer.decode(prompt_token_ids(tokenizer, NO_PROMPT, "1 + 1?")) for tokenizer in (bare, tokenizer, trained)]
    assert "No thoughts" in asked_by[0] and asked_by[1] == asked_by[2] and "No thoughts" not in asked_by[1]
