"""The bill: shapes, memory, FLOPs and time worked out by hand, what cannot fit, and budgets that end a run in order."""

import json
import shlex
from dataclasses import replace

import pytest
import torch
from conftest import TOY, configured

from src.common.errors import UserError
from src.config.limits import LimitsConfig
from src.experiment.announce import warnings
from src.experiment.watches import BudgetWatch
from src.model.architecture import FOLDER, architecture
from src.plan.cost_model import (
    engine_cache_per_token,
    engine_memory,
    evaluation_seconds,
    helped_if_sooner,
    layer_bytes_per_token,
    layer_input_bytes,
    longest_length,
    mask_bytes,
    mean_length,
    memory,
    model_flops,
    pass_lengths,
    peak_memory,
    sampling_seconds,
    seconds,
    sorted_lengths,
    tokens,
    training_flops,
)
from src.plan.plan import make_plan, plan_of
from src.plan.workload import workload
from src.record.record import read_summary
from src.rollout.config import TransformersRollout
from src.run import spelled_out

EXPERIMENTS = ("high_quality_data", "mix_easy_hard", "cosine_length")


def planned(*overrides):
    """The workload and the spec of a command line."""
    config = configured(*overrides)
    return workload(config, architecture(config.model)), config.hardware.known_spec


@pytest.mark.parametrize("path", ["embedded/micro", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"])
def test_parameters_are_those_of_the_real_model(path):
    from transformers import AutoConfig, AutoModelForCausalLM

    from src.model.places import EMBEDDED

    folder = EMBEDDED.get(path, FOLDER / "deepseek_r1_distill_qwen_1_5b")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    shape = architecture(configured(f"model.path={path}").model)
    assert shape.parameters == model.num_parameters()
    linears = [m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and name != "lm_head"]
    assert shape.block_weights == sum(module.weight.numel() for module in linears)


def spelled(argument):
    return spelled_out(argument, swept=False)


def kept_by_autograd(config, padded=False, autocast=False, checkpointing=False):
    """Bytes of the tensors that a forward pass of 8 x 100 tokens keeps, without weights and their copies, and the masks
    among them."""
    from src.model.load import load_model

    model, kept = load_model(config.model), {}
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": True})
        model.enable_input_require_grads()
    weights = {tuple(p.shape) for p in model.parameters() if p.ndim == 2} | {tuple(p.T.shape) for p in model.parameters() if p.ndim == 2}

    def keep(tensor):
        if tuple(tensor.shape) not in weights and tensor.ndim > 1:
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, or its place would be used again
        return tensor

    ids = torch.randint(0, 400, (8, 100))
    mask = torch.ones_like(ids)
    mask[0, :10] = not padded
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        model.train().model(input_ids=ids, attention_mask=mask, use_cache=False)
    sizes = {place: tensor.untyped_storage().nbytes() for place, tensor in kept.items()}
    masks = [sizes[place] for place, tensor in kept.items() if tuple(tensor.shape) == (8, 1, 100, 100)]
    return sum(sizes.values()) - sum(masks), sum(masks)


def of_8_x_100(**change):
    """The workload of such a pass."""
    w, _ = planned("hardware.gradient_checkpointing=false")
    return replace(w, device_batch=8, prompt_longest=60, limits=(40,), **change)


NUMBERS = {"float32": (4, False), "bfloat16": (2, False), "autocast": (4, True)}


@pytest.mark.parametrize("numbers", NUMBERS)
def test_activations_are_what_autograd_keeps(numbers):
    element_bytes, mixed = NUMBERS[numbers]
    w, config = of_8_x_100(element_bytes=element_bytes, mixed=mixed), configured("model.dtype=bfloat16")
    config = config if numbers == "bfloat16" else configured()
    kept, _ = kept_by_autograd(config, autocast=mixed)
    per_token = layer_bytes_per_token(w.architecture, w.compute_bytes, w.stream_bytes)
    assert kept == pytest.approx(w.architecture.layers * 800 * per_token, rel=0.05)


@pytest.mark.parametrize("numbers", ["bfloat16", "autocast"])
def test_under_autocast_layers_hand_on_float32(numbers):
    """With checkpointing they are nearly all that is kept: 22 GB more for 8 x 32,512 tokens of a 1.5B model."""
    element_bytes, mixed = NUMBERS[numbers]
    config = configured(f"model.dtype={'float32' if mixed else 'bfloat16'}")
    kept, _ = kept_by_autograd(config, autocast=mixed, checkpointing=True)
    a = architecture(config.model)
    last = (4 + (4 if mixed else 2)) * 800 * a.hidden  # of the norm after the last layer
    assert kept - last == pytest.approx(a.layers * 800 * a.hidden * (4 if mixed else 2), rel=0.03)
    held, bare = (of_8_x_100(element_bytes=element_bytes, mixed=mixed, checkpointing=c) for c in (True, False))
    assert layer_input_bytes(held) == a.layers * 800 * a.hidden * (4 if mixed else 2) and layer_input_bytes(bare) == 0
    assert layer_input_bytes(replace(held, sharding="fsdp2")) == a.layers * 800 * a.hidden * 2  # it casts them


@pytest.mark.parametrize("numbers", NUMBERS)
def test_padding_makes_sdpa_keep_a_mask_in_each_layer(numbers):
    """In the type that attention computes in; and a byte for each of its cells, which are not autograd's."""
    element_bytes, mixed = NUMBERS[numbers]
    config = configured(f"model.dtype={'bfloat16' if numbers == 'bfloat16' else 'float32'}")
    _, whole = kept_by_autograd(config, autocast=mixed)
    _, padded = kept_by_autograd(config, padded=True, autocast=mixed)
    w = of_8_x_100(element_bytes=element_bytes, mixed=mixed)
    assert whole == 0 and padded + 8 * 100 * 100 == mask_bytes(w)
    assert mask_bytes(replace(w, checkpointing=True)) == 8 * 100 * 100 * (1 + w.compute_bytes)
    assert mask_bytes(replace(w, attention="flash_attention_2")) == mask_bytes(replace(w, attention="flex_attention")) == 0
    alone = replace(w, device_batch=1, padding="trimmed")
    assert mask_bytes(alone) == 0 < mask_bytes(replace(alone, padding="padded"))


def test_long_passes_on_one_h200_count_their_mask_and_fit_as_shipped():
    shipped = ("+experiment=efficient", "scale=h200")
    assert not make_plan(configured(*shipped)).faults
    w, spec = planned(*shipped, "hardware.device_batch_size=8")
    assert memory(w, spec)["attention mask"] == 0  # completions that long are computed one by one
    overrides = (*shipped, "algorithm.length_sorted=false")
    w, spec = planned(*overrides, "hardware.device_batch_size=8")
    cells = 8 * 32512**2
    assert memory(w, spec)["attention mask"] == cells + 2 * cells  # 8.5 GB of bools, 16.9 GB of bf16
    without = replace(w, attention="flex_attention")
    assert peak_memory(w, memory(w, spec))[0] - peak_memory(without, memory(without, spec))[0] == 3 * cells
    plan = make_plan(configured(*overrides, "hardware.device_batch_size=8"))
    assert plan.faults and "hardware.device_batch_size=4" in plan.remedies


def test_a_run_that_its_mask_alone_makes_too_large_is_told_the_kernel():
    overrides = ("+experiment=efficient", "scale=h200", "hardware.spec.memory_gb=110", "algorithm.length_sorted=false")
    plan = make_plan(configured(*overrides))
    assert plan.faults and "model.attention=flex_attention" in plan.remedies
    assert not make_plan(configured(*overrides, "model.attention=flex_attention")).faults


def test_a_24_gb_card_is_told_two_settings_that_fit_together():
    overrides = ("+experiment=mix_easy_hard", "scale=h200", "hardware.spec.memory_gb=24")
    plan = make_plan(configured(*overrides))
    lora = "'model.lora={rank: 16, alpha: 32}' model.dtype=bfloat16"
    assert plan.remedies[0] == f"rollout.gpu_memory_share=0.4 {lora}"
    for remedy in plan.remedies:
        assert not make_plan(configured(*overrides, *map(spelled, shlex.split(remedy)))).faults, remedy


def test_memory_by_hand():
    w, spec = planned("scale=open_rs", "+experiment=mix_easy_hard")
    n, parts = w.architecture.parameters, memory(w, spec)
    assert parts["weights"] == parts["reference model"] == 2 * n  # bf16
    assert parts["gradients"] == 2 * n / 3 and parts["optimiser"] == 12 * n / 3  # ZeRO-2 over three processes
    assert parts["KV cache"] == parts["vLLM"] == 0  # they are on the server's GPU
    longest = 512 + 3584
    per_layer = 6 * longest * 1536 * 2
    assert parts["layer inputs"] == 28 * per_layer
    assert parts["activations"] == 2 * 6 * longest * layer_bytes_per_token(w.architecture, 2, 2)

    alone, spec = planned("scale=open_rs", "rollout=transformers", "hardware=h200", "+experiment=mix_easy_hard")
    parts = memory(alone, spec)
    assert parts["optimiser"] == 4 * n  # two moments in bf16
    cache_per_token = 2 * 28 * 2 * 128 * 2
    assert parts["KV cache"] == max(72 * longest, 256 * (512 + 32768)) * cache_per_token
    without = replace(alone, checkpointing=False)
    assert memory(without, spec)["activations"] > 5 * (parts["layer inputs"] + parts["activations"])


def test_fsdp2_shares_out_all_that_is_held():
    w, spec = planned("scale=open_rs", "+experiment=mix_easy_hard", "hardware.sharding=fsdp2")
    n, a, parts = w.architecture.parameters, w.architecture, memory(w, spec)
    assert parts["weights"] == parts["gradients"] == 4 * n / 3  # float32, whatever was loaded
    assert parts["reference model"] == 2 * n / 3  # as it was loaded
    assert parts["optimiser"] == 8 * n / 3
    layer = a.block_weights / a.layers
    assert parts["gathered weights"] == 2 * (n - a.block_weights + 3 * layer)  # in bf16, of the trained model or the reference
    assert parts["weights to measure"] == 0  # the server samples
    alone = replace(w, engine=TransformersRollout)
    assert peak_memory(alone, memory(alone, spec))[1] > 4 * n  # rank 0's copy
    over_links = replace(w, engine=TransformersRollout, limits=(100,), natural=1e9, evaluations=())
    gathered = seconds(over_links, spec)["rollout"] - seconds(replace(over_links, sharding="none"), spec)["rollout"]
    assert gathered == pytest.approx(100 * 2 * n * (2 / 3) / 16e9)  # every token gathers the others' two thirds


def test_gpus_of_a_server_share_its_weights_and_its_cache():
    """Here an engine's work is reading its weights, which two GPUs do in half the time."""
    one, spec = planned("scale=open_rs", "+experiment=mix_easy_hard", "hardware.spec.token_seconds=0")
    two, _ = planned("scale=open_rs", "+experiment=mix_easy_hard", "hardware.gpus=5")
    n, half = one.architecture.parameters, engine_memory(two, spec)
    assert engine_memory(one, spec)["weights"] == 2 * n and half["weights"] == n
    assert half["KV cache"] == 0.9 * 48e9 - n - 2e9
    four, _ = planned("scale=open_rs", "+experiment=mix_easy_hard", "hardware.gpus=7")
    per_token = [engine_cache_per_token(w) for w in (one, two, four)]
    assert per_token[1] == per_token[2] == per_token[0] / 2  # 2 key heads: two GPUs of four hold the same
    assert "12 attention heads over 5 GPUs" in make_plan(configured("scale=open_rs", "hardware.gpus=8")).faults[0]
    few = {"completions": 4, "prompt": 100, "limit": 1000}
    assert sampling_seconds(two, spec, **few) == pytest.approx(sampling_seconds(one, spec, **few) / 2)


def test_who_measures():
    """All processes where samples go by number, as vLLM's do; otherwise rank 0 alone."""
    two = "scale=h200", "+experiment=mix_easy_hard", "hardware.processes=2", "hardware.gpus=2"
    for rollout, shared in (("vllm_colocate", True), ("transformers", False)):
        w, spec = planned(*two, f"rollout={rollout}")
        one = replace(w, processes=1, generators=1)
        assert (seconds(w, spec)["evaluation"] < 0.7 * seconds(one, spec)["evaluation"]) == shared
        assert seconds(w, spec)["rollout"] < seconds(one, spec)["rollout"]


def test_the_gpus_that_train_help_a_server_to_measure_suites():
    w, spec = planned("scale=open_rs", "+experiment=mix_easy_hard")
    before = sum(evaluation_seconds(replace(w, helpers=0), spec, each) for each in w.evaluations)
    assert w.helpers == 3 and seconds(w, spec)["evaluation"] < 0.5 * before
    along_the_way = w.evaluations[0]
    assert evaluation_seconds(w, spec, along_the_way) == evaluation_seconds(replace(w, helpers=0), spec, along_the_way)
    full = replace(w, trained_parameters=8 * w.trained_parameters)  # no room beside such an optimiser's states
    assert evaluation_seconds(full, spec, w.evaluations[1]) == evaluation_seconds(replace(w, helpers=0), spec, w.evaluations[1])
    assert planned("scale=open_rs", "+experiment=mix_easy_hard", "model.lora={rank: 16, alpha: 32}")[0].helpers == 0
    large = planned("scale=open_rs", "+experiment=mix_easy_hard", "hardware=h100", "hardware.gpus=6", "hardware.processes=2")
    assert helped_if_sooner(w, spec).helpers and not helped_if_sooner(*large).helpers  # one server on four GPUs is the quickest
    short = tuple(replace(each, completions=4, limit=512) for each in w.evaluations)
    assert not helped_if_sooner(replace(w, evaluations=short), spec).helpers  # over before others have started


def test_vllm_takes_its_share_in_turn_or_all_the_time():
    w, spec = planned("scale=h200", "+experiment=mix_easy_hard")
    parts = memory(w, spec)
    assert parts["vLLM"] == 0.3 * 141e9
    asleep, awake = peak_memory(w, parts), peak_memory(replace(w, engine_sleeps=False), parts)
    assert awake[0] - asleep[0] == pytest.approx(parts["vLLM"]) and awake[1] == asleep[1]
    room = 0.3 * 141e9 - 2 * w.architecture.parameters - 2e9  # the engine's weights and cache are bf16, whatever is trained
    plan = make_plan(configured("scale=h200", "+experiment=mix_easy_hard"))
    assert plan.engine_sequences == int(room / ((512 + 3584) * 28672))


def test_adapters_need_fewer_gradients_and_no_reference():
    w, spec = planned("scale=h200", "+experiment=mix_easy_hard", "model.lora={rank: 16, alpha: 32}")
    per_layer = 16 * ((1536 + 1536) * 2 + (1536 + 256) * 2 + (1536 + 8960) * 3)
    assert w.trained_parameters == 28 * per_layer
    assert memory(w, spec)["reference model"] == 0 and not w.reference


def test_flops_by_hand():
    w, _ = planned("scale=open_rs", "+experiment=mix_easy_hard")
    length = w.prompt_mean + 3584
    block = 28 * (1536 * (1536 + 2 * 256 + 1536) + 3 * 1536 * 8960)
    sequence = 6 * block * length + 12 * 28 * 1536 * length * length / 2 + 6 * 1536 * 151936 * 3584
    assert model_flops(w, 3584) == pytest.approx(72 * sequence)


def test_lengths_under_a_limit():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.empty(200, 5000).exponential_(1 / 60, generator=generator)
    assert mean_length(60, 100) == pytest.approx(drawn.clamp(max=100).mean().item(), rel=0.01)
    assert longest_length(60, 10_000, 5000) == pytest.approx(drawn.max(dim=1).values.mean().item(), rel=0.02)
    assert longest_length(60, 100, 5000) == 100


def test_lengths_of_passes_sorted_by_length():
    generator = torch.Generator().manual_seed(0)
    drawn = torch.empty(5000, 72).exponential_(1 / 60, generator=generator).sort(dim=1, descending=True).values
    longest = drawn[:, ::12].mean(dim=0).tolist()
    assert sorted_lengths(60, 10_000, 72, 12) == pytest.approx(longest, rel=0.02)
    assert sorted_lengths(60, 100, 72, 12) == pytest.approx([min(100, length) for length in longest], rel=0.02)


def test_passes_cost_what_they_are_padded_to():
    def lengths(*overrides, scoring=False):
        w, _ = planned("+experiment=mix_easy_hard", "scale=h200", *overrides)
        return pass_lengths(replace(w, natural=500.0), 3584, scoring), w

    (padded,), w = lengths("algorithm.length_sorted=false")
    assert padded == longest_length(500, 3584, 72)
    (trimmed,), _ = lengths()  # under bnpo passes stay as dealt
    assert trimmed == longest_length(500, 3584, 6) < padded
    by_length = sorted_lengths(500, 3584, 72, 6)
    assert lengths(scoring=True)[0] == lengths("+trainer.loss_type=dapo")[0] == by_length and len(by_length) == 12
    narrow = replace(w, padding="sorted", natural=500.0, limits=(3584,))
    columns = w.prompt_mean + sum(by_length) / 12
    assert tokens(narrow)["trained"] == pytest.approx(72 * columns)
    a, each = w.architecture, 6
    forward = sum(
        each * (a.forward_flops(w.prompt_mean + c, (w.prompt_mean + c) / 2) + a.head_flops(c)) for c in by_length
    )
    assert training_flops(narrow, 3584)["log-probabilities"] == pytest.approx(w.extra_forwards * forward)


def test_sampling_is_bound_by_weights_and_cache():
    w, spec = planned("scale=h200", "+experiment=mix_easy_hard")
    spec = spec.model_copy(update={"token_seconds": 0.0, "sampling_share": 1.0, "peak_tflops": 1e6})
    mean = mean_length(w.natural, 3584)
    weights = (w.architecture.block_weights + w.architecture.head_weights) * 2 * 3584  # read once a token
    cache = 72 * mean * (w.prompt_mean + mean / 2) * 28672
    expected = (weights + cache) / 4.8e12
    assert sampling_seconds(w, spec, 72, w.prompt_mean, 3584) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("scale", ["open_rs", "h200"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_published_experiments_fit(experiment, scale):
    plan = make_plan(configured(f"+experiment={experiment}", f"scale={scale}"))
    assert not plan.faults and plan.largest_device_batch >= 6
    limit = 4096 if experiment == "high_quality_data" else 3584
    assert plan.tokens["sampled"] == pytest.approx(500 * 72 * mean_length(6000, limit))


def test_the_plan_of_the_published_run_costs_what_was_published():
    plan = make_plan(configured("+experiment=mix_easy_hard", "scale=open_rs"))
    usd = 4 * 0.44 * plan.training_seconds / 3600
    assert usd == pytest.approx(42, rel=0.25)  # Open-RS: $42, 24 h on four A40


def test_each_remedy_makes_it_fit():
    overrides = ("scale=open_rs", "+experiment=mix_easy_hard", "hardware.processes=1", "hardware.gpus=2",
                 "hardware.device_batch_size=24", "hardware.gradient_checkpointing=false")
    plan = make_plan(configured(*overrides))
    assert plan.faults and len(plan.remedies) >= 2
    for remedy in plan.remedies:
        assert not make_plan(configured(*overrides, *shlex.split(remedy))).faults, remedy
    assert any(" " in remedy for remedy in plan.remedies)  # here no setting is enough by itself
    fewer = (*overrides[:-1], "hardware.device_batch_size=12")
    plan = make_plan(configured(*fewer))
    for remedy in plan.remedies:
        assert not make_plan(configured(*fewer, *shlex.split(remedy))).faults, remedy


def test_staged_limits_are_summed_step_by_step():
    short, _ = planned("+experiment=mix_easy_hard", "length=staged", "length.fraction=1.0", "scale.steps=6")
    assert short.limits == (64, 64, 96, 96, 128, 128)
    assert tokens(short)["sampled"] == pytest.approx(72 * 2 * sum(mean_length(80, limit) for limit in (64, 96, 128)))
    twice, _ = planned("+experiment=mix_easy_hard", "+trainer.num_iterations=2", "scale.steps=6")
    assert len(twice.limits) == 3 and twice.uses == 2


def test_a_run_of_an_unknown_machine_goes_on_without_a_plan():
    config = configured("hardware.spec=null")
    assert plan_of(config) is None
    with pytest.raises(UserError, match="hardware.spec"):
        make_plan(config)


@pytest.mark.parametrize("sharding", ["none", "zero2", "fsdp2"])
def test_weights_that_lose_small_steps_are_warned_of(sharding):
    """AdamW's step of 1e-6 leaves a bfloat16 weight of 0.02 where it is; sharded ones are stepped in float32."""
    config = configured("scale=open_rs", f"hardware.sharding={sharding}")
    assert any("round away" in warning for warning in warnings(config, None)) == (sharding == "none")
    assert not warnings(configured("scale=h200"), None)
    batching = configured("scale=h200", "rollout=transformers", "+trainer.use_transformers_continuous_batching=true")
    assert any("continuous batching turns float32" in warning for warning in warnings(batching, None))


def test_plan_on_the_command_line(command_here, tmp_path):
    result = command_here("+experiment=mix_easy_hard", "scale=open_rs", "plan=true")
    assert result.returncode == 0, result.stderr
    for said in ("optimiser", "FLOPs", "largest batch", "estimate"):
        assert said in result.stdout
    (path,) = (tmp_path / "outputs" / "plans").glob("mix_easy_hard_open_rs_*.json")
    written = json.loads(path.read_text())
    assert written["usd"] > 0 and written["memory_gb"]["optimiser"] > 0
    assert [entry.name for entry in (tmp_path / "outputs").iterdir()] == ["plans"]  # no run was begun


def test_what_cannot_fit_is_refused_in_one_line(command_here):
    result = command_here("+experiment=mix_easy_hard", "scale=open_rs", "hardware.device_batch_size=24",
                          "hardware.gradient_checkpointing=false", "plan=true")
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "training needs" in result.stderr and "hardware.device_batch_size=" in result.stderr


def test_a_budget_leaves_room_for_the_next_step():
    config = configured("budget.hours=1", "hardware.price_usd_per_gpu_hour=2", "budget.usd=1.9")
    line = {f"seconds/{phase}": 15.0 for phase in ("rollout", "grading", "training", "saving")}
    watch = BudgetWatch(config)
    assert watch(line | {"seconds/total": 3300.0}, None) is None
    assert watch(line | {"seconds/total": 3400.0}, None).reason.startswith("budget.usd=1.9 ")  # 3,460 s are $1.92
    assert watch(line | {"seconds/total": 3545.0}, None).status == "out_of_budget"
    assert LimitsConfig().reached(1e9, 1e9) is None


def test_a_budget_ends_a_run_with_its_checkpoint_and_a_larger_one_continues_it(command_here, tmp_path):
    folder = tmp_path / "run"
    result = command_here("+experiment=mix_easy_hard", *TOY, "scale.steps=12", "hardware.price_usd_per_gpu_hour=3600",
                          "budget.usd=0.5", f"run_dir={folder}", f"output_root={tmp_path}")
    assert result.returncode == 0, result.stderr
    summary = read_summary(folder)
    assert summary["status"] == "out_of_budget" and "budget.usd=0.5" in summary["reason"]
    assert "warning: budget.usd=0.5 will probably end the run" in result.stdout
    spent = command_here(f"resume={folder}")
    assert spent.returncode == 2 and "give a larger one" in spent.stderr

    result = command_here(f"resume={folder}", "budget.usd=100000")
    assert result.returncode == 0, result.stderr
    assert read_summary(folder)["status"] == "complete" and "step 10: heading for" in result.stdout
    assert read_summary(folder)["heading"]["seconds_per_step"] > 0
    assert json.loads((folder / "plan.json").read_text())["parameters"] == 377376
