"""The embedded lab: problems, demonstrations, tokenizer, pre-training, and the shipped weights."""

import json
import random
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT
from transformers import AutoModelForCausalLM, AutoTokenizer

from src.common.errors import UserError
from src.micro import WEIGHTS
from src.micro.calibrate import CLOSED, OTHER_SCRIPT, measure
from src.micro.corpus import draw_other, make_tokenizer
from src.micro.demonstrations import Style, demonstration, write_completion
from src.micro.ladder import CACHE_VARIABLE, LADDER, Shape, place, provide
from src.micro.pretrain import main, make_model, parse_arguments, train
from src.micro.tasks import OTHER_TASKS, ROLES, SUITES, in_suites, make_problems

TOY = ["--layers", "1", "--width", "16", "--heads", "2", "--mlp", "16", "--batch", "8", "--threads", "1"]
CHAIN = "Work from left to right: 7+5-3×2"  # 12, 9, 18


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(WEIGHTS)


def independent_value(question: str) -> int:
    """Python's own arithmetic, with brackets that force the order from left to right."""
    chain = question.rsplit(" ", 1)[-1].replace("×", "*")
    operations = re.findall(r"[+*-]\d+", chain)
    start = re.match(r"\d+", chain).group()
    return eval("(" * len(operations) + start + "".join(f"{operation})" for operation in operations))


# Problems


CHAINS = [role for role in ROLES if role not in OTHER_TASKS and not role.startswith("words")]


@pytest.mark.parametrize("role", CHAINS)
def test_problems_have_right_answers_levels_and_lengths(role):
    problems = make_problems(role, 60, seed=3)
    assert [independent_value(p.question) for p in problems] == [int(p.answer) for p in problems]
    for p in problems:
        assert len(re.findall(r"[+×-]", p.question)) in ROLES[role].lengths[p.level]
        assert 0 <= int(p.answer) <= 99
        assert (p.source, p.pass_rate) == (f"micro/{role}", None)
    assert len({p.question for p in problems}) == len({p.id for p in problems}) == 60


@pytest.mark.parametrize("role", OTHER_TASKS)
def test_other_tasks_have_right_answers_levels_and_lengths(role):
    problems = make_problems(role, 60, seed=3)
    for p in problems:
        numbers = re.findall(r"\d+", p.question)
        assert p.answer == ("".join(numbers) if role == "copying" else str(max(map(int, numbers))))
        assert len(p.answer) in ROLES[role].lengths[p.level] and not p.answer.startswith("0")
    assert len({p.question for p in problems}) == 60 and {p.level for p in problems} == {"easy", "hard"}


@pytest.mark.parametrize("role", [role for role in ROLES if role.startswith("words")])
def test_sums_in_words_have_right_answers_levels_and_steps(role):
    problems = make_problems(role, 60, seed=3)
    for p in problems:
        gains = [int(n) for n in re.findall(r"(?:\+|buys|finds|gets) (\d+)", p.question)]
        losses = [int(n) for n in re.findall(r"(?:-|gives away|loses|sells) (\d+)", p.question)]
        start = int(re.search(r"\d+", p.question).group())
        assert int(p.answer) == start + sum(gains) - sum(losses) >= 0
        assert len(gains) + len(losses) in ROLES[role].lengths[p.level]
    assert len({p.id for p in problems}) == 60 and len({p.question.startswith("What is") for p in problems}) == 2


def test_demonstrations_of_other_tasks_are_mostly_right_and_never_of_the_suites():
    rng, right = random.Random(0), 0
    for _ in range(200):
        messages, completion, _ = draw_other(rng, "mixed")
        question = re.search(r"(Copy the digits|Which is larger): [^?\n]*\??", messages[-1]["content"]).group()
        assert not in_suites(question)
        numbers = re.findall(r"\d+", question)
        answer = "".join(numbers) if question.startswith("Copy") else str(max(map(int, numbers)))
        right += re.sub(r"\D", "", completion.splitlines()[-1]) == answer
    assert 0.75 < right / 200 < 0.95


@pytest.fixture
def toy_ladder(monkeypatch, tmp_path):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setitem(LADDER, "embedded/toy", Shape(1, 32, 16, 2, 0.1))
    monkeypatch.setitem(LADDER, "embedded/toy_instruct", Shape(1, 32, 16, 1, 0.1, base="embedded/toy"))
    return tmp_path


def test_a_model_of_the_ladder_is_made_once_and_named_after_its_content(toy_ladder, monkeypatch):
    variant, folder = provide("embedded/toy_instruct"), place("embedded/toy")  # which takes its base first
    weights = [AutoModelForCausalLM.from_pretrained(each).lm_head.weight for each in (folder, variant)]
    assert 0 < (weights[0] - weights[1]).abs().max() < 0.01  # one small step from it
    assert (folder / "tokenizer.json").read_bytes() == (variant / "tokenizer.json").read_bytes()
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 10_000
    assert provide("embedded/toy") == folder and (folder / "model.safetensors").stat().st_mtime_ns == made
    monkeypatch.setitem(LADDER, "embedded/toy", Shape(1, 32, 16, 3, 0.1))
    assert place("embedded/toy") != folder and place("embedded/toy_instruct") != variant


def test_two_processes_and_a_kill_leave_one_whole_model(toy_ladder):
    folder = place("embedded/toy")
    rest = folder.parent / f".{folder.name}-killed"
    rest.mkdir(parents=True)
    (rest / "model.safetensors").write_text("half")
    code = (
        "from src.micro import ladder; ladder.LADDER['embedded/toy'] = ladder.Shape(1, 32, 16, 2, 0.1); "
        "print(ladder.provide('embedded/toy'))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("pre-training it once" in text for text in said) == 1
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, f"{folder.name}.lock"}
    assert AutoTokenizer.from_pretrained(folder).chat_template


def test_problems_are_deterministic_and_depend_on_the_seed():
    assert make_problems("core", 20, seed=1) == make_problems("core", 20, seed=1)
    assert make_problems("core", 20, seed=1) != make_problems("core", 20, seed=2)


def test_suites_share_no_question_with_training_roles():
    questions = {role: {p.question for p in make_problems(role, 600, seed=0)} for role in ("easy", "broad", "chains")}
    assert not questions["chains"] & (questions["easy"] | questions["broad"])
    assert SUITES == {"chains", "chains_long", "copying", "comparison", "large_chains", "large_chains_long", "words"}
    levels = [p.level for p in make_problems("chains", 600, seed=0)]
    assert levels.count("easy") == levels.count("hard") == 300


def test_excluded_questions_do_not_occur():
    first = make_problems("easy", 50, seed=0)
    again = make_problems("easy", 50, seed=0, exclude={p.question for p in first})
    assert not {p.question for p in first} & {p.question for p in again}


def test_unknown_role_names_the_nearest():
    with pytest.raises(UserError, match="did you mean broad"):
        make_problems("braod", 1, seed=0)


# Demonstrations


def test_brief_demonstration_shows_each_step():
    text = write_completion(CHAIN, Style("brief", box=True, close=True, drifting=False), random.Random(0))
    assert text == "7+5=12\n12-3=9\n9×2=18\n</think>\nThe answer is \\boxed{18}"


def test_checking_undoes_each_step():
    text = write_completion("Work from left to right: 7+5×2", Style("checking", True, True, False), random.Random(1))
    assert text == "7+5=12 Check 12-5=7 ok\n12×2=24 Check 24/2=12 ok\n</think>\nThe answer is \\boxed{24}"


def test_careless_demonstrations_are_often_wrong_and_checking_ones_never():
    wrong = {"careless": 0, "checking": 0}
    for pace in wrong:
        for seed in range(200):
            text = write_completion(CHAIN, Style(pace, True, True, False), random.Random(seed))
            wrong[pace] += not text.endswith("\\boxed{18}")
    assert wrong["checking"] == 0
    assert 80 <= wrong["careless"] <= 160


def shares(prompt: str) -> SimpleNamespace:
    rng = random.Random(0)
    texts = [demonstration(p, prompt, rng)[1] for p in make_problems("broad", 600, seed=0)]
    return SimpleNamespace(
        format=sum(len(CLOSED.findall(t)) == 1 for t in texts) / 600,
        box=sum("\\boxed{" in t for t in texts) / 600,
        drift=sum(bool(OTHER_SCRIPT.search(t)) for t in texts) / 600,
    )


def test_the_prompt_moves_the_shares_of_styles():
    bare, think, english = shares("none"), shares("think_boxed"), shares("think_boxed_english")
    assert english.drift < 0.4 * think.drift
    assert bare.box < think.box - 0.1
    assert 0.6 < think.format < 0.9


def test_demonstrations_carry_the_prompt():
    problem = make_problems("easy", 1, seed=0)[0]
    messages, _ = demonstration(problem, "think_boxed_english", random.Random(0))
    assert [m["role"] for m in messages] == ["system", "user"]
    assert messages[0]["content"].endswith("Write in English only.")
    assert messages[1]["content"] == problem.question
    (only,) = demonstration(problem, "reason_boxed", random.Random(0))[0]
    assert only["content"].startswith(problem.question + "\n")


# Tokenizer


@pytest.mark.parametrize(
    "text", ["naïve 🙂 ∑ x²\n\t двa", "a  b , c 's ?", "再检查一下 答案是", "\\frac{1}{2}</think>\n\\boxed{42}"]
)
def test_any_text_survives_encoding(tokenizer, text):
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_each_digit_and_each_marker_is_one_token(tokenizer):
    assert tokenizer.tokenize("7+12=19") == ["7", "+", "1", "2", "=", "1", "9"]
    assert tokenizer.tokenize("<think></think>\\boxed{") == ["<think>", "</think>", "\\boxed{"]
    assert len(tokenizer.tokenize("也许")) == len(tokenizer.tokenize("答案是")) == 1


def test_the_template_opens_the_reasoning(tokenizer):
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n"
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


# Pre-training


def test_pretraining_is_reproducible_to_the_bit_and_learns():
    arguments = parse_arguments(["--steps", "30", "--clean-share", "1", *TOY])
    tokenizer = make_tokenizer(seed=0)
    (first, losses), (second, again) = train(arguments, tokenizer), train(arguments, tokenizer)
    assert losses == again
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_the_command_writes_a_model_that_loads_and_its_card(tmp_path):
    output = tmp_path / "weights"
    command = ["--output", str(output), "--steps", "2", "--calibration-count", "2", *TOY]
    main(command)
    loaded = AutoModelForCausalLM.from_pretrained(output)
    assert loaded.config.num_hidden_layers == 1
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "python -m src.micro.pretrain --output" in card and "| think_boxed | hard | 112 |" in card
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]  # nothing half-written beside it


def test_the_command_makes_the_large_model_on_its_own_task(tmp_path):
    output = tmp_path / "weights"
    main(["--size", "large", "--output", str(output), "--steps", "2", "--calibration-count", "2", *TOY])
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "--size large" in card and "| think_boxed | hard | 280 |" in card and "| think_boxed | hard | 320 |" in card
    assert AutoModelForCausalLM.from_pretrained(output).config.vocab_size <= 512
    shape = parse_arguments(["--size", "large"])
    with torch.device("meta"):
        model = make_model(shape, AutoTokenizer.from_pretrained(output))
    assert 19e6 < model.num_parameters() < 21e6


@pytest.mark.parametrize(
    ("sizes", "message"),
    [(["--width", "10", "--heads", "3"], "not a multiple"), (["--steps", "0"], "--steps 0 is below 1")],
)
def test_impossible_sizes_are_refused(tmp_path, sizes, message):
    with pytest.raises(UserError, match=message):
        main(["--output", str(tmp_path / "w"), *sizes])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_no_model_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="not a model's folder"):
        main(["--output", str(tmp_path)])
    assert (tmp_path / "thesis.txt").read_text() == "precious"


# The shipped weights


def test_shipped_model_is_small_and_its_settings_agree(model, tokenizer):
    assert model.num_parameters() <= 1_000_000
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 4_000_000
    generation = json.loads((WEIGHTS / "generation_config.json").read_text(encoding="utf-8"))
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert model.config.model_type == "qwen2"


def test_shipped_model_leaves_room_to_learn(model, tokenizer):
    easy, hard = measure(model, tokenizer, prompts=["think_boxed"], count=128, seed=1, limits=[112])
    assert 0.45 <= easy.accuracy <= 0.75
    assert 0.10 <= hard.accuracy <= 0.40
    assert 0.10 <= hard.truncated <= 0.40
    assert 0.5 <= easy.format <= 0.95
    assert easy.drift >= 0.15


def test_shipped_model_drifts_less_when_asked_for_english(model, tokenizer):
    asked, unasked = (
        measure(model, tokenizer, prompts=[prompt], count=128, seed=2, limits=[112])
        for prompt in ("think_boxed_english", "think_boxed")
    )
    assert sum(row.drift for row in asked) < 0.8 * sum(row.drift for row in unasked)
