"""Sampling for evaluation."""

import pytest
import torch
from conftest import configured

from src.common.errors import RunFailed, UserError
from src.data.prompt import prompt_token_ids
from src.grading.completions import end_tokens
from src.model.load import load_model, load_tokenizer
from src.rollout.config import check_engine
from src.rollout.engine import limit_after
from src.rollout.in_process import TransformersEngine

QUESTIONS = ["7 + 5 - 3 = ?", "1 + 1 = ?"]


@pytest.fixture(scope="module")
def parts():
    config = configured()
    tokenizer, model = load_tokenizer(config.model), load_model(config.model)
    prompts = [prompt_token_ids(tokenizer, config.prompt, question) for question in QUESTIONS]
    return TransformersEngine(model, tokenizer, end_tokens(tokenizer, model.generation_config), batch_size=4), prompts


def sample(parts, **changes):
    engine, prompts = parts
    return engine.generate(prompts, 3, **{"temperature": 1.0, "top_p": 1.0, "limit": 24, "seed": 0} | changes)


def test_samples_for_each_prompt_end_at_the_end_token_or_the_limit(parts):
    completions_PS = sample(parts)
    assert [len(samples) for samples in completions_PS] == [3, 3]
    for ids in (ids for samples in completions_PS for ids in samples):
        ends = [position for position, token in enumerate(ids) if token in parts[0].ends]
        assert ends == [len(ids) - 1] or (not ends and len(ids) == 24)


def test_a_completion_ends_where_the_context_does(parts, monkeypatch):
    """Each where its own prompt leaves it, in one batch too."""
    engine, prompts = parts
    room = max(map(len, prompts)) + 5
    monkeypatch.setattr(engine.model.config, "max_position_embeddings", room)
    left = [limit_after(ids, 24, engine.room) for ids in prompts]
    assert left == [room - len(ids) for ids in prompts] and min(left) == 5 < max(left)
    for limit, samples in zip(left, sample(parts), strict=True):
        assert all(len(ids) == limit or ids[-1] in engine.ends for ids in samples) and max(map(len, samples)) <= limit
    with pytest.raises(RunFailed, match="the engine reads 3;"):
        limit_after([1, 2, 3], 24, 3)


def test_the_seed_decides_and_training_is_not_disturbed(parts):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = sample(parts)
    assert torch.equal(torch.rand(3), expected)  # the random state outside is as if nothing had been sampled
    assert sample(parts) == first != sample(parts, seed=1)


def test_weights_are_sampled_from_in_another_dtype_and_stay_as_they_are(parts):
    engine, prompts = parts
    model = load_model(configured().model)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    in_bfloat16 = TransformersEngine(model, engine.tokenizer, engine.ends, batch_size=4, dtype=torch.bfloat16)
    half = load_model(configured("model.dtype=bfloat16").model)
    assert sample((in_bfloat16, prompts)) == sample((TransformersEngine(half, engine.tokenizer, engine.ends, 4), prompts))
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_temperature_zero_is_greedy(parts):
    samples = sample(parts, temperature=0.0)[0]
    assert samples[0] == samples[1] == samples[2]


def test_weights_that_ran_away_are_said_in_words(parts):
    engine, prompts = parts
    broken = TransformersEngine(load_model(configured().model), engine.tokenizer, engine.ends, 4)
    with torch.no_grad():
        for parameter in broken.model.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(RunFailed, match="diverged"):
        sample((broken, prompts))


def test_vllm_asked_for_and_not_installed():
    import importlib.util

    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed here")
    with pytest.raises(UserError, match=r"'\.\[vllm\]'"):
        check_engine(configured("rollout=vllm_colocate").rollout)
