"""What a training run needs, by formula: memory by part, FLOPs and seconds by phase. No weights, no torch.

Memory: weights, gradients and Adam's states as in ZeRO (arXiv 1910.02054, section 3), activations by what autograd
keeps of a layer (arXiv 2205.05198, section 4, with a gated feed-forward layer and fused attention), the cache by
arXiv 2309.06180. FLOPs: 2 for each weight and token forward, twice that backward (arXiv 2001.08361), attention added.
Time: training by FLOPs over the peak rate, sampling token by token by the bytes that each token has to read: all
weights once for the whole running batch, and each completion's cache (arXiv 2211.05102, section 2).
"""

import math
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from statistics import fmean
from typing import Literal

from src.hardware.config import Spec
from src.model.architecture import Architecture
from src.rollout.config import RolloutConfig
from src.training.algorithm import ALONE_FROM

GB = 1e9
# TRL's log-probabilities hold a tile of the logits at a time (trl.kernels.chunked_logprob): tokens x vocabulary.
TILE_TOKENS, TILE_VOCABULARY = 4096, 32768
ENGINE_GB = 2.0  # of vLLM besides weights and cache: activations, CUDA graphs
HELD = "weights", "gradients", "optimiser", "reference model", "libraries"  # parts of memory that stay, in training and beside it
USABLE = 0.95  # share of a GPU's memory that allocations can fill before fragments are in the way


@dataclass(frozen=True, slots=True)
class Workload:
    """One run as the cost model sees it; what a suggestion changes is a field here."""

    architecture: Architecture
    trained_parameters: int  # all of them, or the adapters'
    element_bytes: int  # of weights and activations as trained
    reference_bytes: float  # of the reference model's weights, which stay as loaded, for each weight of the policy's
    mixed: bool  # float32 weights, computed with in bf16
    processes: int
    generators: int  # GPUs that share the sampling
    engine_parallel: int  # of them, those that share one engine's weights and cache (vLLM's tensor parallelism)
    device_batch: int  # completions in one pass of one process
    padding: Literal["padded", "trimmed", "sorted"]  # see LabConfig.padding
    completions: int  # sampled at once, for `updates` optimiser steps
    completions_per_prompt: int
    updates: int
    uses: int  # passes of training over each completion
    steps: int
    prompt_mean: float  # tokens
    prompt_longest: int
    limits: tuple[int, ...]  # on completion tokens, at each sampling
    natural: float  # mean tokens of a completion that nothing cuts off
    reference: bool  # a copy of the first weights is held
    extra_forwards: float  # over all completions, without gradients: the reference's and the sampler's check
    checkpointing: bool
    attention: str  # transformers' name of the kernel
    sharding: Literal["none", "zero2", "fsdp2"]
    engine: type[RolloutConfig]
    engine_share: float  # of a GPU's memory for vLLM
    engine_sleeps: bool
    engine_positions: int  # longest sequence that vLLM must have room for
    evaluations: tuple["Sampling", ...]
    measured_by_all: bool  # whether all training processes measure, or rank 0 alone
    helpers: int  # engines on GPUs that train, which help a server to measure suites
    learnt: float = 1.0  # share of completions that goes through training
    sampled: float = 1.0  # completions sampled for each one of a batch: some are thrown away, some not sampled anew
    thrown: float = 0.0  # share of the sampled ones

    @property
    def engine_bytes(self) -> int:
        """Of a weight where tokens are sampled: vLLM samples in the half precision that float32 weights compute in."""
        return 2 if self.engine.uses_vllm and self.mixed else self.element_bytes

    @property
    def compute_bytes(self) -> int:
        """Of a weight or activation in training."""
        return 2 if self.mixed else self.element_bytes

    @property
    def stream_bytes(self) -> int:
        """Of what a layer hands to the next one: under autocast float32 embeddings keep it in float32; FSDP2 casts them."""
        return 4 if self.mixed and self.sharding != "fsdp2" else self.compute_bytes

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence in training."""
        return self.prompt_longest + max(self.limits)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Completions that are sampled outside training."""

    name: str
    times: int
    completions: int
    prompt_mean: float
    limit: int
    batch: int  # at once, by transformers
    in_training: bool = False  # and so nothing but what samples there is free to measure


# Lengths -------------------------------------------------------------------------------------------------------------


def mean_length(natural: float, limit: int) -> float:
    """Mean completion tokens under a limit, if lengths are exponential with the mean `natural`."""
    return natural * -math.expm1(-limit / natural)


def longest_length(natural: float, limit: int, completions: int) -> float:
    """Expected longest of so many completions: the mean times their harmonic number, at most the limit."""
    return min(float(limit), natural * (math.log(completions) + 0.5772))


@cache
def sorted_lengths(natural: float, limit: int, completions: int, size: int) -> tuple[float, ...]:
    """Expected longest of each pass of `size`, of so many completions sorted by length, falling: the k-th longest is the
    mean times 1/k + 1/(k + 1) + ... + 1/completions, at most the limit."""
    at_least = list(accumulate(1 / k for k in range(completions, 0, -1)))[::-1]
    return tuple(min(float(limit), natural * at_least[k]) for k in range(0, completions, size))


def pass_lengths(w: Workload, limit: int, scoring: bool = False) -> tuple[float, ...]:
    """Columns of completions that the passes over one batch compute; `scoring` ones want log-probabilities alone."""
    share = w.completions // w.processes
    if w.padding == "padded":
        return (longest_length(w.natural, limit, w.completions),)
    if scoring:
        return sorted_lengths(w.natural, limit, share, w.device_batch)
    if w.padding == "sorted":
        return sorted_lengths(w.natural, limit, share * w.uses // w.updates, w.device_batch)
    return (longest_length(w.natural, limit, w.device_batch),)


# Memory, in bytes for one process's GPU ------------------------------------------------------------------------------


def layer_bytes_per_token(a: Architecture, element_bytes: int, stream_bytes: int) -> float:
    """What autograd keeps of one layer for each token: inputs of the norms (in float32), of the matrices and of
    attention, and four tensors of the gated feed-forward layer."""
    if stream_bytes > element_bytes:  # autocast makes each of five matrices a copy of a norm's output
        norms = 2 * 8 * a.hidden + 5 * a.hidden * element_bytes
    else:
        norms = 2 * (12 * a.hidden if element_bytes == 4 else 8 * a.hidden)
    return norms + element_bytes * (3 * a.queries + 2 * a.keys + 4 * a.mlp)


def layer_input_bytes(w: Workload) -> float:
    """Each layer's input at the longest length, from which checkpointing computes the layer again."""
    tokens = w.learnt * w.device_batch * w.longest
    return w.architecture.layers * tokens * w.architecture.hidden * w.stream_bytes if w.checkpointing else 0.0


def activation_bytes(w: Workload) -> float:
    """Kept for the backward pass at the longest length, and the layer in hand; with checkpointing one layer and its gradients."""
    tokens = w.learnt * w.device_batch * w.longest
    layer = tokens * layer_bytes_per_token(w.architecture, w.compute_bytes, w.stream_bytes)
    return 2 * layer if w.checkpointing else (w.architecture.layers + 0.5) * layer


def mask_bytes(w: Workload) -> float:
    """What sdpa takes where a pass has padding: transformers makes a mask of rows x tokens x tokens, a byte each, and torch
    the numbers that are added to the scores, which autograd keeps of each layer. A completion by itself has no padding, and long
    ones are computed so (src/training/passes.py); the flash kernels and flex_attention make no mask."""
    alone = w.padding != "padded" and (w.device_batch == 1 or w.longest >= ALONE_FROM)
    if w.attention != "sdpa" or alone:
        return 0.0
    kept = 1 if w.checkpointing else w.architecture.layers
    return w.learnt * w.device_batch * w.longest**2 * (1 + kept * w.compute_bytes)


def logit_bytes(w: Workload) -> float:
    """The tile of logits, and float32 gradients of the output layer and of its input."""
    a, size = w.architecture, w.compute_bytes
    tokens = w.learnt * w.device_batch * w.longest
    tile = min(tokens, TILE_TOKENS) * min(a.vocabulary, TILE_VOCABULARY) * size
    return 2 * tile + 4 * a.head_weights + 4 * tokens * a.hidden


def cache_bytes(w: Workload) -> float:
    """Keys and values while transformers samples; with vLLM they are in its own share."""
    if w.engine.uses_vllm:
        return 0.0
    rows = w.completions / w.processes
    return rows * w.longest * w.architecture.cache_bytes_per_token(w.element_bytes)


def evaluation_cache_bytes(w: Workload) -> float:
    if w.engine.uses_vllm or not w.evaluations:
        return 0.0
    per_token = w.architecture.cache_bytes_per_token(w.element_bytes)
    return max(min(e.batch, e.completions) * (w.prompt_longest + e.limit) for e in w.evaluations) * per_token


def gathered_bytes(w: Workload) -> float:
    """Weights that FSDP2 has whole at once, of the trained model or the reference: embeddings and head, and of the layers
    the one in hand with its gradients and the next one."""
    if w.sharding != "fsdp2" or w.processes == 1:
        return 0.0
    a = w.architecture
    return w.compute_bytes * (a.parameters - a.block_weights + 3 * a.block_weights / a.layers)


def measured_bytes(w: Workload) -> float:
    """Rank 0's copy of sharded weights, on the GPU while transformers samples from it."""
    return w.architecture.parameters * w.element_bytes if w.sharding == "fsdp2" and not w.engine.uses_vllm else 0.0


def memory(w: Workload, spec: Spec) -> dict[str, float]:
    """Bytes on each training GPU, by part."""
    a, n, size = w.architecture, w.processes, w.element_bytes
    everything = n if w.sharding == "fsdp2" else 1
    cast = 2 if w.mixed and w.sharding != "fsdp2" else 0  # autocast keeps its copies of float32 weights
    weights = a.parameters * (size + cast) / everything
    gradients = w.trained_parameters * size / (n if w.sharding != "none" else 1)
    # ZeRO keeps float32 weights and both of Adam's moments, shared out; AdamW itself two moments in the weights' type.
    optimiser = w.trained_parameters * (12 / n if w.sharding == "zero2" else 2 * size / everything)
    reference = a.parameters * w.reference_bytes / everything if w.reference else 0.0
    vllm = w.engine_share * spec.memory_bytes if w.engine.shares_gpu else 0.0
    return {
        "weights": weights, "gradients": gradients, "optimiser": optimiser, "reference model": reference,
        "gathered weights": gathered_bytes(w), "weights to measure": measured_bytes(w),
        "layer inputs": layer_input_bytes(w), "activations": activation_bytes(w), "attention mask": mask_bytes(w), "logits": logit_bytes(w),
        "KV cache": max(cache_bytes(w), evaluation_cache_bytes(w)),
        "vLLM": vllm, "libraries": spec.base_gb * GB,
    }


def peak_memory(w: Workload, parts: dict[str, float]) -> tuple[float, float]:
    """The most bytes at once in training and in sampling, which take turns."""
    held = sum(parts[name] for name in HELD)
    training = held + sum(parts[name] for name in ("gathered weights", "layer inputs", "activations", "attention mask", "logits"))
    sampling = held - parts["gradients"] + parts["weights to measure"] + parts["KV cache"] + parts["vLLM"]
    return training + (0.0 if w.engine_sleeps else parts["vLLM"]), sampling


def engine_weights(w: Workload) -> float:
    """Bytes of a vLLM engine's weights on one GPU."""
    return w.architecture.parameters * w.engine_bytes / w.engine_parallel


def engine_cache_per_token(w: Workload) -> float:
    """Bytes of a vLLM engine's cache for a token on one GPU; more GPUs than there are key heads hold the same ones."""
    return w.architecture.cache_bytes_per_token(w.engine_bytes) / min(w.engine_parallel, w.architecture.kv_heads)


def cache_room(w: Workload, spec: Spec) -> float:
    """Bytes that a vLLM engine has for its cache on one GPU."""
    return w.engine_share * spec.memory_bytes - engine_weights(w) - ENGINE_GB * GB


def smallest_engine(w: Workload) -> float:
    """Bytes of a vLLM engine on one GPU that has room for the longest sequence, and no more."""
    alone = replace(w, engine_parallel=1)
    return engine_weights(alone) + w.engine_positions * engine_cache_per_token(alone) + ENGINE_GB * GB


def helper(w: Workload, spec: Spec) -> Workload | None:
    """The run as an engine sees it that helps to measure in what training leaves of its GPU; None where it has no room."""
    if not w.helpers:
        return None
    parts = memory(w, spec)
    left = USABLE * spec.memory_bytes - sum(parts[name] for name in HELD)
    if left < smallest_engine(w):
        return None
    return replace(w, generators=1, engine_parallel=1, engine_share=left / spec.memory_bytes)


def engine_memory(w: Workload, spec: Spec) -> dict[str, float]:
    """Bytes of a vLLM engine on one GPU, by part: on its own GPU, or in its share of the one that trains."""
    if not w.engine.uses_vllm:
        return {}
    return {"weights": engine_weights(w), "KV cache": max(0.0, cache_room(w, spec)), "buffers": ENGINE_GB * GB}


# FLOPs and seconds ---------------------------------------------------------------------------------------------------


def tokens(w: Workload) -> dict[str, float]:
    """Tokens of the whole run: sampled in training, those thrown away by themselves, trained on (padding counted), sampled in
    evaluation."""
    sampled = w.sampled * sum(w.completions * mean_length(w.natural, limit) for limit in w.limits)
    trained = sum(w.learnt * w.completions * w.uses * (w.prompt_mean + fmean(pass_lengths(w, limit))) for limit in w.limits)
    measured = sum(e.times * e.completions * mean_length(w.natural, e.limit) for e in w.evaluations)
    thrown = {"thrown away": w.thrown * sampled} if w.thrown else {}
    return {"sampled": (1 - w.thrown) * sampled, **thrown, "trained": trained, "evaluation": measured}


def _forward(w: Workload, lengths: tuple[float, ...]) -> tuple[float, float]:
    """FLOPs of the layers and of the output layer, forward, over one batch in passes of these lengths."""
    a, each = w.architecture, w.completions / len(lengths)
    tokens = [w.prompt_mean + length for length in lengths]
    return each * sum(a.forward_flops(t, t / 2) for t in tokens), each * sum(map(a.head_flops, lengths))


def training_flops(w: Workload, limit: int) -> dict[str, float]:
    """FLOPs of what one sampling of completions is used for, by phase, over all processes."""
    block, head = _forward(w, pass_lengths(w, limit))
    full = w.trained_parameters == w.architecture.parameters
    # Backward: the gradients of inputs and of weights, each as much as forward; adapters need hardly any of the latter.
    backward = (2.0 if full else 1.0) + (1.0 if w.checkpointing else 0.0)
    return {
        "log-probabilities": w.extra_forwards * sum(_forward(w, pass_lengths(w, limit, scoring=True))),
        "forward and backward": w.learnt * w.uses * ((1 + backward) * block + (1 + 1 + (2 if full else 1)) * head),
    }


def model_flops(w: Workload, limit: int) -> float:
    """FLOPs that forward and backward must take, recomputation left out: what utilisation is counted with."""
    return 3 * w.learnt * w.uses * sum(_forward(w, pass_lengths(w, limit)))


def sampling_flops(w: Workload, completions: float, prompt: float, mean: float) -> float:
    a = w.architecture
    each = a.forward_flops(prompt, prompt / 2) + a.forward_flops(mean, prompt + mean / 2) + a.head_flops(mean)
    return completions * each


def sampling_seconds(
    w: Workload, spec: Spec, completions: int, prompt: float, limit: int, at_once: int | None = None
) -> float:
    """Seconds to sample so many completions, shared out among the engines.

    transformers: batches, each as long as its longest completion. vLLM: as many as its cache holds, refilled; GPUs that
    share an engine each read and compute their part of it, and what they tell each other is left out.
    """
    a, gpus = w.architecture, w.engine_parallel
    here = math.ceil(completions * gpus / w.generators)  # of one engine
    mean = mean_length(w.natural, limit)
    if not w.engine.uses_vllm:
        rows = min(here, at_once or here)
        running, forwards = float(rows), math.ceil(here / rows) * longest_length(w.natural, limit, rows)
    else:
        per_sequence = (prompt + mean) * engine_cache_per_token(w)
        room = max(1.0, cache_room(w, spec) / per_sequence)
        longest = longest_length(w.natural, limit, here)
        forwards = max(longest, here * mean / room)
        running = here * mean / forwards
    context = prompt + (mean if w.engine.uses_vllm else forwards / math.ceil(here / running)) / 2
    per_row = w.engine.cache_traffic * context * a.cache_bytes_per_token(w.engine_bytes)
    read = ((a.block_weights + a.head_weights) * w.engine_bytes + running * per_row) / gpus
    compute = running * (a.forward_flops(1, context) + a.head_flops(1)) / gpus
    overhead = a.layers * (0.0 if w.engine.uses_vllm else spec.layer_seconds) + spec.token_seconds
    second = max(read / spec.sampling_bytes_per_s, compute / spec.sampling_flops_per_s)
    prefill = a.forward_flops(here * prompt, prompt / 2) / (gpus * spec.training_flops_per_s)
    return prefill + forwards * (overhead + second)


def gather_seconds(w: Workload, spec: Spec) -> float:
    """Seconds in which a process gets the others' shares of all weights, or hands out gradients; 0 unless FSDP2 shards."""
    if w.sharding != "fsdp2":
        return 0.0
    return w.architecture.parameters * w.compute_bytes * (1 - 1 / w.processes) / (spec.link_gb_per_s * GB)


def seconds(w: Workload, spec: Spec) -> dict[str, float]:
    """Seconds of the whole run by phase."""
    rollout = w.sampled * sum(sampling_seconds(w, spec, w.completions, w.prompt_mean, limit) for limit in w.limits)
    if not w.engine.uses_vllm:  # every token of sharded weights
        rollout += sum(longest_length(w.natural, limit, w.completions) for limit in w.limits) * gather_seconds(w, spec)
    rate = w.processes * spec.training_flops_per_s
    passes = w.completions * (w.uses + w.extra_forwards) / (w.processes * w.device_batch)
    computing = sum(sum(training_flops(w, limit).values()) / rate for limit in w.limits)
    # Forward, backward, and gradients the other way, beside the computing.
    moving = len(w.limits) * passes * 3 * gather_seconds(w, spec)
    training = max(computing, moving) + len(w.limits) * passes * w.architecture.layers * 3 * spec.layer_seconds
    # Adam reads and writes weights, gradients and two moments; the weights go to the sampler once a batch.
    states = w.trained_parameters * (16 if w.sharding == "zero2" else 4 * w.element_bytes)
    training += w.steps * 2 * states / (spec.bandwidth_gb_per_s * GB)
    sync = len(w.limits) * w.architecture.parameters * w.engine_bytes / (spec.link_gb_per_s * GB)
    return {
        "startup": spec.startup_seconds,
        "rollout": rollout + (sync if w.engine.uses_vllm else 0.0),
        "training": training + w.steps * spec.step_seconds,
        "evaluation": evaluations_seconds(helped_if_sooner(w, spec), spec),
    }


def evaluation_seconds(w: Workload, spec: Spec, e: Sampling) -> float:
    """Seconds that one suite's measurements take in the whole run."""
    measuring = w if w.engine.is_server or w.measured_by_all else replace(w, generators=1)  # else rank 0 measures alone
    helping = None if e.in_training else helper(w, spec)
    engines = [measuring, *([helping] if helping else [])]
    share = math.ceil(e.completions / (1 + w.helpers if helping else 1))  # of each engine
    return e.times * max(sampling_seconds(each, spec, share, e.prompt_mean, e.limit, e.batch) for each in engines)


def evaluations_seconds(w: Workload, spec: Spec) -> float:
    """Seconds that all measurements take, engines that help started for each model that is measured."""
    starts = max((e.times for e in w.evaluations if not e.in_training), default=0) if helper(w, spec) else 0
    return sum(evaluation_seconds(w, spec, each) for each in w.evaluations) + starts * spec.startup_seconds


def helped_if_sooner(w: Workload, spec: Spec) -> Workload:
    """The run without engines that help, where it measures sooner so: suites may be over before these have started, and a server on
    several GPUs writes each token sooner than one can."""
    alone = replace(w, helpers=0)
    return w if evaluations_seconds(w, spec) < evaluations_seconds(alone, spec) else alone
