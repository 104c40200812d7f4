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


def by_number(parts, **changes):
    engine, _ = parts
    return TransformersEngine(engine.model, engine.tokenizer, engine.ends, **{"batch_size": 4, "by_number": True} | changes)


def test_a_sample_by_number_is_the_same_whatever_is_sampled_with_it(parts):
    engine, prompts = by_number(parts), parts[1]
    all_at_once = sample((engine, prompts))
    assert all_at_once == sample((by_number(parts, batch_size=1), prompts)) != sample(parts)
    later = engine.generate(prompts[1:], 2, temperature=1.0, top_p=1.0, limit=24, seed=1)
    assert later[0] == all_at_once[1][1:]  # numbers 1 and 2
    assert len({tuple(ids) for samples in all_at_once for ids in samples}) == 6


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 0.9)])
def test_samples_by_number_have_the_models_probabilities(parts, temperature, top_p):
    engine, prompts = by_number(parts, batch_size=500), parts[1][:1]
    tokens = [ids[0] for ids in engine.generate(prompts, 2000, temperature=temperature, top_p=top_p, limit=1, seed=0)[0]]
    with torch.no_grad():
        chances = (engine.model(torch.tensor(prompts)).logits[0, -1] / temperature).softmax(-1)
    kept = chances.sort(descending=True)
    allowed = kept.indices[: int((kept.values.cumsum(-1) < top_p).sum()) + 1]
    expected = torch.zeros_like(chances).scatter(0, allowed, chances[allowed] / chances[allowed].sum())
    shares = torch.bincount(torch.tensor(tokens), minlength=len(expected)) / 2000
    assert (shares > 0).sum() > 1 and not shares[expected == 0].any()
    assert ((shares - expected).abs() < 4 * (expected * (1 - expected) / 2000).sqrt() + 1e-3).all()


def test_a_completion_ends_where_the_context_of_the_model_does(parts):
    engine, prompts = parts
    long = (prompts[0] * 100)[:1014]
    short, room = engine.generate([prompts[0], long], 2, temperature=1.0, top_p=1.0, limit=24, seed=0)
    assert max(map(len, room)) <= 10 and max(map(len, short)) > 10


def test_temperature_zero_is_greedy(parts):
    samples = sample(parts, temperature=0.0)[0]
    assert samples[0] == samples[1] == samples[2]


def test_weights_that_ran_away_are_said_in_words(parts):
    engine, prompts = parts
    broken = TransformersEngine(load_model(configured().model), engine.tokenizer, engine.ends, 4)
    with torch.no_grad():
        for parameter in broken.model.parameters():
            parameter.fill_(float("nan"))
    for numbered in (False, True):
        broken.by_number = numbered
        with pytest.raises(RunFailed, match="diverged"):
            sample((broken, prompts))


def test_vllm_asked_for_and_not_installed():
    import importlib.util

    if importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is installed here")
    with pytest.raises(UserError, match=r"'\.\[vllm\]'"):
        check_engine(configured("rollout=vllm_colocate").rollout)
