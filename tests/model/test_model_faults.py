"""Model folders with something wrong: one line, before anything is written, and no code of theirs runs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import configured
from safetensors.torch import load_file, save_file

from src.common.errors import UserError
from src.data.prompt import prompt_token_ids
from src.model.architecture import architecture
from src.model.load import load_model, load_tokenizer
from src.model.places import EMBEDDED

DOWN = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture
def folder(tmp_path) -> Path:
    return shutil.copytree(EMBEDDED["embedded/micro"], tmp_path / "model")


def model_of(folder):
    return configured(f"model.path={folder}").model


def change_weights(folder, change):
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def message_of(load, *arguments) -> str:
    with pytest.raises(UserError) as raised:
        load(*arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


WEIGHTS = {
    "one key missing": (lambda w: {key: value for key, value in w.items() if key != DOWN}, f"1 weights are missing, such as {DOWN}"),
    "all keys prefixed": (lambda w: {f"_orig_mod.{key}": value for key, value in w.items()}, "38 weights are unexpected"),
    "one key too many": (lambda w: w | {"model.layers.9.x.weight": torch.zeros(2)}, "1 weights are unexpected"),
    "another shape": (lambda w: w | {"model.norm.weight": torch.zeros(2)}, "weights of other shapes than its config.json says"),
}


@pytest.mark.parametrize(("change", "says"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_are_not_the_models_are_refused(folder, change, says):
    change_weights(folder, change)
    assert says in message_of(load_model, model_of(folder))


def test_tied_weights_that_are_stored_once_are_there(folder):
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert load_model(model_of(folder)).lm_head.weight.shape[0] == 459


FILES = {
    "truncated": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
    "empty": lambda f: (f / "model.safetensors").write_bytes(b""),
    "gone": lambda f: (f / "model.safetensors").unlink(),
    "no JSON": lambda f: (f / "config.json").write_text("{"),
    "a list": lambda f: (f / "config.json").write_text("[]"),
    "absurd vocabulary": lambda f: change_config(f, vocab_size=10**9),
    "negative vocabulary": lambda f: change_config(f, vocab_size=-5),
    "unknown type": lambda f: change_config(f, model_type="nope"),
}


@pytest.mark.parametrize("damage", FILES.values(), ids=FILES)
def test_damaged_files_are_one_line(folder, damage):
    damage(folder)
    assert str(folder) in message_of(load_model, model_of(folder))


@pytest.mark.parametrize("values", [{"vocab_size": -5}, {"num_attention_heads": 0}, {"hidden_size": "wide"}], ids=str)
def test_a_plan_of_a_damaged_config_is_one_line(folder, values):
    change_config(folder, **values)
    assert "config.json" in message_of(architecture, model_of(folder))


@pytest.mark.parametrize("name", ["tokenizer.json"])
@pytest.mark.parametrize("content", [None, "{", ""], ids=["gone", "cut", "empty"])
def test_a_damaged_tokenizer_is_one_line(folder, name, content):
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    assert str(folder) in message_of(load_tokenizer, model_of(folder))


def test_a_repositorys_code_never_runs_and_nobody_is_asked(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    change_config(folder, model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.M"})
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    assert "trust_remote_code=False" in message_of(load_model, model_of(folder))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer_class": "E", "auto_map": {"AutoTokenizer": ["evil.E", None]}}))
    try:
        load_tokenizer(model_of(folder))  # tokenizer.json alone may do
    except UserError as error:
        assert "trust_remote_code=False" in str(error)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_with_code_in_it_is_refused(folder, tmp_path):
    import os

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    (folder / "model.safetensors").unlink()
    torch.save({"weight": Evil()}, folder / "pytorch_model.bin")
    assert "holds more than weights" in message_of(load_model, model_of(folder))
    assert not (tmp_path / "ran").exists()


REFUSES = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"


def test_a_template_that_takes_no_system_message_says_what_to_do(folder):
    path = folder / "chat_template.jinja"
    path.write_text(REFUSES + path.read_text())
    tokenizer, config = load_tokenizer(model_of(folder)), configured()
    said = message_of(prompt_token_ids, tokenizer, config.prompt, "1 + 1")
    assert "System role not supported" in said and "prompt.system=null" in said
    assert prompt_token_ids(tokenizer, config.prompt.model_copy(update={"system": None}), "1 + 1")


@pytest.mark.parametrize("template", ["{% for %}", "{{ messages[9].content.nothing() }}", "{{ raise_exception('never') }}", "{{ 1 + 'a' }}"])
def test_a_template_with_a_fault_is_one_line(folder, template):
    (folder / "chat_template.jinja").write_text(template)
    assert "chat template" in message_of(prompt_token_ids, load_tokenizer(model_of(folder)), configured().prompt, "1 + 1")
