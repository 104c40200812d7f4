"""At scale=open_rs the three experiments carry the published numbers, and each ablation changes one thing."""

import pytest
from conftest import composed, configured

from src.training.length import LengthSchedule

# arXiv 2503.16219 and its released code: rewards with weights, prompts a step, tokens of a completion at most.
PUBLISHED = {
    "high_quality_data": ({"format": 1, "accuracy": 2}, {"core": 1}, None, 4096, "think_boxed"),
    "mix_easy_hard": ({"format": 1, "accuracy": 2}, {"core": 3, "broad": 3, "easy": 1}, 7000, 3584, "think_boxed"),
    "cosine_length": (
        {"format": 1, "cosine_open_rs": 2}, {"core": 3, "broad": 3, "easy": 1}, 7000, 3584, "think_boxed_english",
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_numbers(name):
    config = configured(f"+experiment={name}", "scale=open_rs")
    rewards, weights, size, limit, prompt = PUBLISHED[name]
    assert {term: weight for term, weight in config.reward.weights.items() if weight} == rewards
    assert {role: weight for role, weight in config.mix.weights.items() if weight} == weights
    assert (config.mix.size, config.mix.order, config.mix.repeats) == (size, "shuffled", 1)
    schedule = LengthSchedule(config.length, config.scale.completion_budget, config.scale.steps)
    assert [schedule.limit(step) for step in (0, 250, 499)] == [limit] * 3
    assert config.prompt == configured(f"prompt={prompt}").prompt

    assert config.model.path == "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
    assert config.model.dtype == "bfloat16" and config.hardware.bf16
    assert (config.seed, config.scale.steps, config.record.checkpoint_every_steps) == (42, 500, 50)
    assert config.scale.prompt_budget == 512
    assert config.rollout.temperature == 0.7
    lr = config.lr
    assert (lr.schedule, lr.peak, lr.min_ratio, lr.warmup_fraction) == ("cosine_min", 1e-6, 0.1, 0.1)
    hardware = config.hardware
    assert (hardware.gpus, hardware.processes, hardware.device_batch_size, config.batch.accumulation_steps) == (4, 3, 6, 4)
    assert (hardware.sharding, hardware.gradient_checkpointing) == ("zero2", True)
    assert (config.algorithm.completions_per_prompt, config.algorithm.prompts_per_step) == (6, 12)
    assert config.algorithm.settings == {
        "beta": 0.04, "use_bias_correction_kl": False, "vllm_importance_sampling_correction": False, "epsilon": 0.2, "num_iterations": 1, "loss_type": "bnpo",
        "scale_rewards": "group", "mask_truncated_completions": False,
    }
    assert hardware.cost_usd(24 * 3600) == pytest.approx(42, abs=0.5)  # dollars, published


def test_the_published_evaluation():
    evaluation = configured("scale=open_rs").evaluation
    sampling = evaluation.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_completion_tokens) == (0.6, 0.95, 32768)
    asked = evaluation.asked_with(configured().prompt)
    assert asked.system is None and "boxed" in asked.user and evaluation.reader == "last_expression"
    rows = {name: suite.pool.published_rows for name, suite in evaluation.suites.items()}
    assert rows == {
        "aime24": 30, "aime25": 30, "amc23": 40, "math_500": 500, "minerva": 272, "olympiadbench": 675, "gsm8k": 1319,
    }


def test_the_evaluation_of_the_study_on_reasoning_efficiently():
    """arXiv 2502.04463."""
    config = configured("scale=h200", "evaluation=efficient")
    evaluation, sampling = config.evaluation, config.evaluation.sampling
    assert {name: suite.samples for name, suite in evaluation.suites.items()} == {"gsm8k": 1, "math_500": 3, "aime24": 10}
    assert (sampling.temperature, sampling.top_p, sampling.max_completion_tokens) == (0.6, 1.0, 32768)
    asked = evaluation.asked_with(config.prompt)
    assert asked == configured("prompt=reason_boxed").prompt != config.prompt and asked.system is None


def test_the_evaluation_of_the_scaling_study_asks_as_it_trains():
    config = configured("+experiment=scaling", *QWEN)
    assert config.evaluation == configured("+experiment=scaling", *QWEN, "evaluation=scaling").evaluation
    assert config.evaluation.asked_with(configured().prompt) == config.prompt


def test_the_embedded_models_evaluation_asks_as_it_trains_and_draws_all_at_once():
    config = configured()
    assert config.evaluation.asked_with(config.prompt) == config.prompt
    assert config.evaluation.reader == "boxed" and not config.evaluation.in_rounds


def test_h200_keeps_the_global_batch_of_open_rs():
    a40, h200 = configured("scale=open_rs"), configured("scale=h200")
    assert a40.algorithm.completions_per_step == h200.algorithm.completions_per_step == 72
    assert h200.hardware.device_batch_size * h200.batch.accumulation_steps == 72


@pytest.mark.parametrize(
    ("ablation", "of", "changes"),
    [
        ("ablation_data_only", "high_quality_data", {"mix"}),
        ("ablation_length_only", "high_quality_data", {"length"}),
        ("ablation_reward_only", "mix_easy_hard", {"reward"}),
        ("ablation_prompt_only", "mix_easy_hard", {"prompt"}),
    ],
)
def test_an_ablation_changes_one_group_and_no_more(ablation, of, changes):
    one, other = composed(f"+experiment={ablation}"), composed(f"+experiment={of}")
    assert {group for group in one if one[group] != other[group]} == changes | {"name"}


QWEN = ("scale=qwen2_5",)


@pytest.mark.parametrize(("model", "training"), [("qwen2_5_0_5b", 1), ("qwen2_5_7b", 2), ("qwen2_5_72b_instruct", 32)])
def test_the_published_scaling_study(model, training):
    """arXiv 2509.25300 and its released code."""
    config = configured("+experiment=scaling", *QWEN, f"model={model}")
    lr, settings = config.lr, config.algorithm.settings
    assert (lr.schedule, lr.peak, config.scale.steps, config.batch.generation_every_steps) == ("constant", 1e-6, 420, 4)
    assert (settings["beta"], settings["weight_decay"], settings["max_grad_norm"]) == (0.001, 0.1, 1.0)
    assert (settings["epsilon"], settings["loss_type"]) == (0.2, "dapo")
    assert (config.batch.prompts_per_generation, config.algorithm.completions_per_prompt) == (512, 8)
    assert config.algorithm.prompts_per_step == 128 and config.batch.presentations == 105 * 512 == config.mix.size
    assert (config.mix.order, config.rollout.temperature, config.evaluation.sampling.temperature) == ("easy_first", 1.0, 0.7)
    assert (config.scale.prompt_budget, config.scale.completion_budget) == (2048, 4096)
    assert {term: weight for term, weight in config.reward.weights.items() if weight} == {"accuracy": 1}
    assert config.evaluation.validation.problems_per_level == 250 and config.evaluation.validation.samples == 1
    assert config.evaluation.suites["humaneval"].grading == "code"
    assert {"gsm8k", "math_500", "aime24", "amc23", "zebralogic", "supergpqa"} < set(config.evaluation.suites)
    assert config.hardware.processes == training < config.hardware.gpus and config.rollout.engine == "vllm_server"


@pytest.mark.parametrize("tau", [1, 2, 5, 20, 25, 50, 100])
def test_data_reuse_takes_equal_steps_at_every_tau(tau):
    for scale, presented in ((("scale=micro",), 400), (QWEN, 51_200)):
        config = configured("+experiment=data_reuse", *scale, f"mix.repeats={tau}")
        assert config.mix.size == config.batch.presentations == presented and config.mix.size % (2 * tau) == 0


@pytest.mark.parametrize("group", [4, 8, 16, 32])
def test_groups_of_every_size_have_equal_compute(group):
    for scale, completions in ((("hardware.device_batch_size=16",), 64), (QWEN, 1024)):
        config = configured("+experiment=group_size", *scale, f"algorithm.completions_per_prompt={group}")
        assert config.algorithm.completions_per_step == completions


def test_every_model_and_experiment_composes():
    from src.run import CONF

    for path in (CONF / "model").glob("*.yaml"):
        assert configured(f"model={path.stem}").model.path
    for path in (CONF / "experiment").glob("*.yaml"):
        assert configured(f"+experiment={path.stem}", "hardware.device_batch_size=8" if path.stem == "group_size" else "seed=1")


def test_the_published_efficiency_study():
    """arXiv 2502.04463: 100 batches of 32 prompts x 8 completions, two updates each."""
    config = configured("+experiment=efficient", "scale=h200", "reward.alpha=0.2")
    settings, batch, lr = config.algorithm.settings, config.batch, config.lr
    assert (batch.prompts_per_generation, config.algorithm.completions_per_prompt, batch.generation_every_steps) == (32, 8, 2)
    assert (config.scale.steps, batch.presentations) == (200, 3200)
    assert (settings["beta"], settings["epsilon"], settings["scale_rewards"]) == (1e-3, 0.2, "none")
    assert (config.algorithm.advantages, settings["loss_type"]) == ("leave_one_out", "grpo")
    assert (lr.schedule, lr.peak, lr.warmup_steps) == ("constant_warmup", 5e-6, 6)
    assert (config.rollout.temperature, config.scale.completion_budget, config.scale.prompt_budget) == (1.0, 32000, 512)
    assert {term: weight for term, weight in config.reward.weights.items() if weight} == {"efficient": 1}
    assert (config.prompt.system, config.seed) == (None, 42)
