"""What is never written down, and what looks like it and is none."""

import pytest

from src.common.secrets import HIDDEN, is_secret, only_known, redacted, without_password, without_secrets

SECRETS = ("hub_token", "trainer.hub_token", "token", "password", "db.password", "api_key", "apikey", "aws_secret_access_key",
           "HF_TOKEN", "WANDB_API_KEY", "client-secret", "PGPASSWORD"[2:], "access_key", "private_key", "credentials")
PLAIN = ("max_completion_tokens", "eos_token", "trainer.pad_token", "completion_tokens", "tokenizer", "seconds_per_token_step",
         "key", "keys", "prompt_tokens", "token_budget", "monkey", "stop_token")


def test_keys_are_told_apart():
    assert [key for key in SECRETS if not is_secret(key)] == [] and [key for key in PLAIN if is_secret(key)] == []


@pytest.mark.parametrize(
    "text",
    ["trainer.hub_token=SECRETX", "TypeError: f(hub_token='SECRETX', beta=0.1)", '{"token": "SECRETX"}', "++trainer.hub_token=SECRETX",
     "postgresql://h/db?user=me&password=SECRETX", "postgresql://me:SECRETX@h/db", "https://SECRETX@hub/x", "api_key=SECRETX, next",
     "push_to_hub_token = SECRETX", "| settings | beta=0.04, hub_token=SECRETX |", "hf_SECRETXSECRETXSECRETX", "HF_TOKEN=SECRETX run",
     "ghp_SECRETXSECRETXSECRETXSECRETX", "password=SECRETX"],
)
def test_no_text_keeps_one(text):
    assert "SECRETX" not in redacted(text) and HIDDEN in redacted(text)


@pytest.mark.parametrize(
    "text",
    ["max_completion_tokens=128", "eos_token=<|im_end|>", "step 3: 57 tokens", "tokens: 12, cost: 3", "sqlite:///a/b.db", "a @ b",
     "https://host/path?x=1", "the token is the last one", "model.tokenizer=embedded/micro", "commit 1f0c"],
)
def test_other_text_stays(text):
    assert redacted(text) == text


def test_what_the_environment_holds_is_found_anywhere(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
    assert redacted("401 for 0123456789abcdef0123456789abcdef01234567") == f"401 for {HIDDEN}"
    monkeypatch.setenv("MY_TOKEN", "on")  # too short to be looked for
    assert redacted("once on") == "once on"
    monkeypatch.setenv("PWD", "/home/me/folder")
    assert redacted("record: /home/me/folder/run") == "record: /home/me/folder/run"


def test_a_configuration_is_hidden_by_key_and_by_value_and_reads_back_without_them():
    config = {"trainer": {"hub_token": "hf_x", "beta": 0.1, "args": ["--password=abc"]}, "seed": 1, "prompt": {"eos_token": "</s>"}}
    hidden = without_secrets(config)
    assert hidden == {"trainer": {"hub_token": HIDDEN, "beta": 0.1, "args": [f"--password={HIDDEN}"]}, "seed": 1,
                      "prompt": {"eos_token": "</s>"}}
    assert only_known(hidden)["trainer"] == {"beta": 0.1, "args": [f"--password={HIDDEN}"]}
    assert config["trainer"]["hub_token"] == "hf_x"


def test_an_address_keeps_neither_who_nor_how():
    assert without_password("postgresql://me:pw@h:5/db?user=me&password=pw&sslmode=on") == "postgresql://h:5/db?sslmode=on"
    assert "pw" not in without_password("postgresql://h/db?user=me&password=pw")
