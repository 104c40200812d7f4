"""Reward terms: values worked out by hand, TRL's own where there is one, and the shipped combinations."""

import math
import re

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import ValidationError

from src.common.types import Completion, Verdict
from src.grading.looks import has_format, script_share
from src.training.reward import REWARDS, AccuracyConfig, RewardBatch, RewardConfig, active

CONF = ROOT / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "reward").glob("[!_]*.yaml"))


def completion(
    correct: bool = True, tokens: int = 10, text: str = "", truncated: bool = False, ids: tuple[int, ...] = ()
) -> Completion:
    return Completion(text, tokens, truncated, Verdict(correct, "", "equal" if correct else "different"), ids)


def reward(name: str, completions: list[Completion], limit: int = 100, group: int | None = None, **settings):
    config = RewardConfig(weights={name: 1.0}, **settings)
    return REWARDS[name](RewardBatch(completions, group or len(completions), limit), config)


def texts(name: str, *contents: str, **settings) -> list[float]:
    return reward(name, [completion(text=text) for text in contents], **settings)


@pytest.fixture
def composed(tmp_path):
    """Compose a reward option as a run would: `composed("accuracy", "reward.alpha=0.2")`."""
    (tmp_path / "primary.yaml").write_text(
        f"defaults: [reward: accuracy, _self_]\nhydra: {{searchpath: ['file://{CONF}']}}\n", encoding="utf-8"
    )

    def build(option: str, *overrides: str) -> RewardConfig:
        with initialize_config_dir(str(tmp_path), version_base="1.3"):
            tree = compose("primary", [f"reward={option}", *overrides])
        return RewardConfig.model_validate(OmegaConf.to_container(tree.reward, resolve=True))

    return build


def test_accuracy():
    assert reward("accuracy", [completion(True), completion(False)]) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 2 = 4\n</think>\n\\boxed{4}", True),
        ("<think>\n2 + 2 = 4\n</think>\n\\boxed{4}", True),  # a template that leaves <think> to the model
        ("I close with </think> later\n</think>\n\\boxed{4}", True),  # only lines of their own count
        ("2 + 2 = 4 </think>\n\\boxed{4}", False),
        ("2 + 2 = 4\n</think> \\boxed{4}", False),
        ("2 + 2 = 4\n</think>\nno\n</think>\n\\boxed{4}", False),
        ("2 + 2 = 4\n</think>\n</think>\n\\boxed{4}", True),  # as Open-RS counts: they share a line end
        ("2 + 2 = 4\n</think>", False),  # no answer follows
        ("</think>\n\\boxed{4}", False),  # no reasoning precedes
        ("2 + 2 = 4", False),
        ("", False),
    ],
)
def test_format(text, expected):
    assert has_format(text) is expected
    assert texts("format", text) == [float(expected)]


def test_cosine_is_in_tokens_and_held_beyond_the_limit():
    lengths = (0, 25, 50, 100, 150, 200)
    right = reward("cosine", [completion(True, n) for n in lengths])
    wrong = reward("cosine", [completion(False, n) for n in lengths])
    quarter = 0.25 * math.sqrt(0.5)  # cos(45°) times half the difference
    assert right == pytest.approx([1.0, 0.75 + quarter, 0.75, 0.5, 0.5, 0.5])
    assert wrong == pytest.approx([-0.5, -0.25 - quarter, -0.25, 0.0, 0.0, 0.0])
    long_text = completion(True, 0, text="x" * 100)
    assert reward("cosine", [long_text]) == [1.0]


def test_cosine_agrees_with_trl():
    from trl.rewards import get_cosine_scaled_reward

    answers, lengths = ["\\boxed{4}", "\\boxed{5}"] * 3, [7, 7, 60, 60, 120, 120]
    theirs = get_cosine_scaled_reward(100, min_value_wrong=-0.5, max_value_wrong=0.0)(
        [[{"content": answer}] for answer in answers], ["$4$"] * 6, [[1] * n for n in lengths]
    )
    ours = reward("cosine", [completion(a == "\\boxed{4}", n) for a, n in zip(answers, lengths, strict=True)])
    assert ours == pytest.approx(theirs)


def test_cosine_open_rs_is_in_characters_and_repeats():
    lengths = (0, 50, 100, 150, 200, 300)
    right = reward("cosine_open_rs", [completion(True, 7, "x" * n) for n in lengths])
    wrong = reward("cosine_open_rs", [completion(False, 7, "x" * n) for n in lengths])
    assert right == pytest.approx([1.0, 0.75, 0.5, 0.75, 1.0, 0.5])
    assert wrong == pytest.approx([0.0, -0.25, -0.5, -0.25, 0.0, -0.5])


def test_efficient_compares_correct_completions_of_one_prompt():
    # Correct ones of 10, 20, 30 tokens: mean 20, population variance 200 / 3, so z is -sqrt(1.5), 0, sqrt(1.5).
    first = [completion(True, 10), completion(True, 20), completion(True, 30), completion(False, 5)]
    second = [completion(True, 1000)] + [completion(False, 10)] * 3
    edge = 1 / (1 + math.exp(-math.sqrt(1.5)))
    expected = [1 - 0.4 * (1 - edge), 0.8, 1 - 0.4 * edge, 0.0, 0.8, 0.0, 0.0, 0.0]
    assert reward("efficient", first + second, group=4, alpha=0.4) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ([completion(True, 10), completion(False, 3)], [0.95, 0.0]),  # a single correct one: 1 - alpha / 2
        ([completion(True, 10), completion(True, 10)], [0.95, 0.95]),
        ([completion(False, 10), completion(False, 90)], [0.0, 0.0]),
        # Without an end of sequence: no reward, and no part in the mean.
        ([completion(True, 10), completion(True, 100, truncated=True)], [0.95, 0.0]),
    ],
)
def test_efficient_edges(group, expected):
    assert reward("efficient", group, alpha=0.1) == pytest.approx(expected)


def test_efficient_without_pressure_is_accuracy_of_complete_answers():
    group = [completion(True, 10), completion(True, 99), completion(False, 20), completion(True, 100, truncated=True)]
    assert reward("efficient", group, alpha=0.0) == [1.0, 1.0, 0.0, 0.0]


def test_length_kimi():
    group = [completion(True, 10), completion(True, 60), completion(False, 10), completion(False, 110)]
    equal = [completion(True, 30), completion(False, 30)] * 2
    assert reward("length_kimi", group + equal, group=4) == [0.5, 0.0, 0.0, -0.5, 0.0, 0.0, 0.0, 0.0]


def test_soft_overlong():
    lengths = (0, 80, 85, 90, 100, 101)
    assert reward("soft_overlong", [completion(True, n) for n in lengths]) == [0.0, 0.0, -0.25, -0.5, -1.0, -1.0]
    # DAPO: 4,096 of 20,480 tokens.
    dapo = [completion(False, n) for n in (16_384, 18_432, 20_480)]
    assert reward("soft_overlong", dapo, limit=20_480) == [0.0, -0.5, -1.0]


def test_repetition():
    # 1 2 1 2 1 2: four 3-grams, two of them different. A text shorter than one 3-gram repeats nothing.
    ids = [(1, 2, 1, 2, 1, 2), (1, 2, 3, 4), (5, 5)]
    completions = [completion(tokens=len(row), ids=row) for row in ids]
    assert reward("repetition", completions) == [-0.5, 0.0, 0.0]
    assert reward("repetition", completions, repetition={"ngram_tokens": 1, "max_penalty": -0.3}) == pytest.approx(
        [-0.2, 0.0, -0.15]
    )
    with pytest.raises(ValueError, match="token ids"):
        reward("repetition", [completion(tokens=5)])


@pytest.mark.parametrize(
    ("text", "script", "expected"),
    [
        ("plain words", "latin", 1.0),
        ("naïve café, ok", "latin", 1.0),
        ("ab是的", "latin", 0.5),
        ("ab是的", "han", 0.5),
        ("ответ is", "latin", 2 / 7),
        ("ответ is", "cyrillic", 5 / 7),
        ("ここは東京", "japanese", 1.0),
        ("1 + 2 = 3", "latin", 1.0),  # no letters
        ("", "latin", 1.0),
        ("设 $x$ 为 \\(y\\)，\\[\\frac{ab}{cd}\\] 和 \\alpha", "han", 1.0),  # maths and commands are left out
        ("\\begin{align*}abc\\end{align*}是", "han", 1.0),
        ("<think>是</think>", "han", 1.0),
        ("the area is πr² and x·y", "latin", 1.0),  # lone letters are variables
        ("it costs $5, 但是 not $6", "latin", 10 / 12),  # amounts of money are no maths
        ("$5-是的-$6 total", "latin", 5 / 7),
    ],
)
def test_language(text, script, expected):
    assert script_share(text, script) == pytest.approx(expected)
    assert texts("language", text, language={"script": script}) == pytest.approx([expected])


def test_language_reads_unclosed_maths_quickly():
    assert script_share("\\(" * 5_000 + "$" * 5_000 + "是", "latin") == 0.0


def tags(*contents: str, opened: bool | None = None, **settings) -> list[float]:
    config = RewardConfig(weights={"tag_count": 1.0}, tag_count=settings)
    return REWARDS["tag_count"](RewardBatch([completion(text=text) for text in contents], len(contents), 100, opened), config)


def test_tag_count():
    closed, bare, twice = "a\n</think>\nb", "\\boxed{4}", "a\n</think>\nb\n</think>\nc"
    whole, open_ = "<think>\n2+2\n</think>\n\n\\boxed{4}", "<think>\n2+2"
    assert tags(closed, bare, twice, whole, opened=True) == [1.0, 0.0, 0.0, 0.5]  # the template opens; once more is too often
    assert tags(closed, bare, twice, whole, open_, opened=False) == [0.5, 0.0, 0.0, 1.0, 0.5]
    assert tags(closed, bare, twice, whole) == [1.0, 0.0, 0.0, 1.0]  # nobody knows the template
    assert tags(closed, whole, opened=True, opened_by_template=False) == [0.5, 1.0]  # the config is stronger
    # Open-R1 and Open-RS count two closing lines that follow each other as one, and two apart as two.
    assert tags("<think>\na\n</think>\n</think>\nb", "<think>\na\n</think>\nb\n</think>\nc", opened=False) == [1.0, 0.5]


def test_an_answer_inside_unfinished_thinking_counts_only_where_it_is_told_to():
    inside, after, plain = "<think>\nso \\boxed{4}", "<think>\nso\n</think>\n\\boxed{4}", "\\boxed{4}"
    assert texts("accuracy", inside, after, plain) == [0.0, 1.0, 1.0]
    assert texts("accuracy", inside, after, plain, accuracy={"after_think": False}) == [1.0, 1.0, 1.0]
    opened = RewardBatch([completion(text=plain), completion(text="so\n</think>\n\\boxed{4}")], 2, 100, opened=True)
    assert REWARDS["accuracy"](opened, RewardConfig(weights={"accuracy": 1.0})) == [0.0, 1.0]


def test_reasoning_steps():
    one, three, many = "Step 1: add", "First, add.\n- Check.\n* done", "1. a\n- b\n- c\n4. d\nFinally, e"
    assert texts("reasoning_steps", "add", one, three, many) == [0.0, pytest.approx(1 / 3), 1.0, 1.0]


@pytest.mark.parametrize("text", ["1. a\n2. b\n3. c", "- a\n- b", "x\n1. a\n* b", "* a", "2. x\n- y\nNext, z\nStep 3: w"])
def test_reasoning_steps_are_those_of_open_r1(text):
    pattern = r"(Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,)"  # its own, with re.findall and no flags
    assert texts("reasoning_steps", text) == pytest.approx([min(1.0, len(re.findall(pattern, text)) / 3)])


def test_a_batch_holds_whole_groups():
    with pytest.raises(ValueError, match="5 completions do not divide into groups of 2"):
        RewardBatch([completion()] * 5, 2, 100)


PUBLISHED = {
    "accuracy": {"accuracy": 1.0},
    "format_accuracy": {"accuracy": 2.0, "format": 1.0},
    "format_cosine": {"format": 1.0, "cosine": 2.0},
    "format_cosine_open_rs": {"format": 1.0, "cosine_open_rs": 2.0},
    "efficient": {"efficient": 1.0},
    "format_accuracy_english": {"accuracy": 2.0, "format": 1.0, "language": 0.5},
    "dapo": {"accuracy": 1.0, "soft_overlong": 1.0},
}
BOXED_WHILE_THINKING = {"accuracy", "format_accuracy", "format_accuracy_english"}


def test_every_option_has_its_weights_here():
    assert sorted(PUBLISHED) == OPTIONS


@pytest.mark.parametrize("option", OPTIONS)
def test_options(composed, option):
    config = composed(option)
    assert active(config) == PUBLISHED[option]
    assert list(config.weights) == list(REWARDS)  # the catalogue is complete
    # The defaults in the code are those of the files, but where a published reward counts a box in unfinished thinking.
    published = AccuracyConfig(after_think=option not in BOXED_WHILE_THINKING)
    assert config == RewardConfig(weights=config.weights, accuracy=published)


def test_terms_and_parameters_from_the_command_line(composed):
    config = composed("format_accuracy", "reward.weights.language=0.5", "reward.alpha=0.4")
    assert active(config) == {"accuracy": 2.0, "format": 1.0, "language": 0.5}
    assert config.alpha == 0.4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"acuracy": 1.0}}, "no reward term 'acuracy': did you mean accuracy?"),
        ({"weights": {"accuracy": math.nan}}, "Input should be a finite number"),
        ({"weights": {"accuracy": math.inf}}, "Input should be a finite number"),
        ({"weights": {"accuracy": 0.0}}, "all weights are 0"),
        ({"weights": {}}, "all weights are 0"),
        ({"alpha": 1.0}, "less than 1"),
        ({"alpha": -0.1}, "greater than or equal to 0"),
        ({"language": {"script": "latinn"}}, "no script 'latinn': did you mean latin?"),
        ({"soft_overlong": {"interval_fraction": 0}}, "greater than 0"),
        ({"repetition": {"max_penalty": 0.5}}, "less than or equal to 0"),
        ({"cosine": {"correct_at_limit": 1.0}}, "Extra inputs are not permitted"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValidationError) as error:
        RewardConfig(**{"weights": {"accuracy": 1.0}, **settings})
    assert message in str(error.value)
