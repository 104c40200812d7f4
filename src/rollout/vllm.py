"""Sampling with vLLM: in this process, or on TRL's server."""

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from src.common.errors import ServerDied
from src.rollout.engine import TokenIds, limit_after

if TYPE_CHECKING:
    from src.model.config import ModelConfig
    from src.rollout.client import WatchedClient

# Log-probabilities, ten bytes a token as numbers and a hundred as text, are for training alone.
MEASURING = {"top_k": 0, "logprobs": None}


def prepare_vllm_on_cpu() -> None:
    """Settings under which a vLLM built for the CPU takes part in training."""
    settings = {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process, where its weights can be set
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    import vllm._custom_ops
    import vllm.model_executor.layers.utils

    # Both repack linear weights when they are loaded, and TRL's weight sync then finds none of their shape: oneDNN, and
    # on processors with AMX the kernels for small bf16 matrices.
    vllm._custom_ops._supports_onednn = False
    vllm.model_executor.layers.utils.check_cpu_sgl_kernel = lambda *_: False


def vllm_version() -> str:
    from vllm.version import __version__  # the package has other names on other devices

    return f"vllm {__version__}"


def sampled_on() -> str:
    """The kind of device here."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def of_server(samples: int, *, temperature: float, top_p: float, limit: int, seed: int) -> dict[str, Any]:
    """What a server is asked for. A seed belongs to a request: with a request for each sample, all of a prompt's would be equal."""
    sampling = {"temperature": temperature, "top_p": top_p, "n": distinct(samples, temperature)}
    return sampling | MEASURING | {"max_tokens": limit, "generation_kwargs": {"seed": seed}}


def distinct(samples: int, temperature: float) -> int:
    """Of a prompt's samples, how many differ: without a temperature they are all one, and vLLM refuses to draw it more than once."""
    return samples if temperature else 1


def by_prompt(flat: list[TokenIds], drawn: int, samples: int) -> list[list[TokenIds]]:
    """What was drawn for each prompt, as often as it takes for all of its samples."""
    return [flat[start : start + drawn] * (samples // drawn) for start in range(0, len(flat), drawn)]


class Served:
    """A server of vLLM's own (`vllm.entrypoints.openai.api_server`), whose weights stay as it has loaded them."""

    def __init__(self, client: "WatchedClient", ends: frozenset[int]) -> None:
        self.client, self.ends, self.room = client, ends, client.room
        self.identity = f"{vllm_version()}, served, {sampled_on()}"

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, done: Callable[[int], None] = lambda number: None, **how: Any
    ) -> list[list[TokenIds]]:
        flat = self.client.generate(prompts=list(prompts_P), **of_server(samples, **how))["completion_ids"]
        done(samples * len(prompts_P))
        return by_prompt(flat, distinct(samples, how["temperature"]), samples)


class VllmEngine:
    """The vLLM engine or server that TRL's trainer holds, after the trainer's weights were pushed to it.

    `pushing_alone` surrounds that, which no other training process takes part in.
    """

    def __init__(self, generation, ends: frozenset[int], pushing_alone: Callable = nullcontext) -> None:
        self.generation, self.ends, self.pushing_alone = generation, ends, pushing_alone

    @property
    def room(self) -> int:
        return self.generation.room

    @property
    def identity(self) -> str:
        return f"{vllm_version()}, {self.generation.mode}, {self.generation.dtype}, {sampled_on()}"

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, done: Callable[[int], None] = lambda number: None, **how: Any
    ) -> list[list[TokenIds]]:
        with self.pushing_alone():
            self.generation.sync_weights()
        ask = self._ask_server if self.generation.mode == "server" else self._ask_engine
        if not prompts_P:  # fewer prompts than processes that measure
            return []
        flat = ask(list(prompts_P), samples, **how)
        done(samples * len(prompts_P))
        return by_prompt(flat, distinct(samples, how["temperature"]), samples)

    def _ask_engine(
        self, prompts: list[TokenIds], samples: int, *, temperature: float, top_p: float, limit: int, seed: int
    ) -> list[TokenIds]:
        """In this process. The training's sampling settings are put back after."""
        drawn = distinct(samples, temperature)
        own = {"seed": seed, "n": drawn}  # and nothing of what training asks for besides
        sampling = {"temperature": temperature, "top_p": top_p, "max_completion_length": limit, "generation_kwargs": own}
        asked = sampling | MEASURING | {"min_p": None, "repetition_penalty": 1.0}
        kept = {name: getattr(self.generation, name) for name in asked}
        try:
            for name, value in asked.items():
                setattr(self.generation, name, value)
            _, completion_ids, _, _ = self.generation.generate(prompts=prompts, images=None, num_generations=drawn)
        finally:
            for name, value in kept.items():
                setattr(self.generation, name, value)
        return [list(ids) for ids in completion_ids]

    def _ask_server(self, prompts: list[TokenIds], samples: int, **how: Any) -> list[TokenIds]:
        """Not through `VLLMGeneration.generate`, which waits for all training processes: this one measures alone."""

        def ask() -> list[TokenIds]:
            output = self.generation.vllm_client.generate(prompts=prompts, **of_server(samples, **how))
            list(output["prompt_ids"])  # raises ServerDied where it did
            return output["completion_ids"]

        try:
            return ask()
        except ServerDied:
            with self.pushing_alone():
                self.generation.sync_weights()  # to the one that is started in its place
            return ask()


class VllmAlone:
    """A vLLM engine of its own, for sampling where nothing is trained."""

    def __init__(self, model: "ModelConfig", ends: frozenset[int], **settings: Any) -> None:
        """`settings` of vLLM's engine, such as `dtype`, if that is not the model's, and `max_model_len`."""
        import torch
        from vllm import LLM

        from src.model.load import resolve

        self.ends = ends
        # On a CPU compiling takes minutes, and a prompt that is read in two chunks fails: a seeded request then winds its
        # generator back, which torch's for the CPU cannot.
        for_cpu = {} if torch.cuda.is_available() else {"enforce_eager": True, "enable_chunked_prefill": False}
        settings = {"dtype": model.dtype} | settings
        self.llm = LLM(resolve(model), revision=model.revision, **settings, **for_cpu)
        self.room = self.llm.llm_engine.model_config.max_model_len
        self.identity = f"{vllm_version()}, alone, {settings['dtype']}, {sampled_on()}"

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, temperature: float, top_p: float, limit: int, seed: int,
        done: Callable[[int], None] = lambda number: None,
    ) -> list[list[TokenIds]]:
        from vllm import SamplingParams

        params = [
            SamplingParams(
                n=distinct(samples, temperature), temperature=temperature, top_p=top_p, seed=seed,
                max_tokens=limit_after(list(ids), limit, self.room), stop_token_ids=sorted(self.ends), detokenize=False,
            )
            for ids in prompts_P
        ]
        prompts = [{"prompt_token_ids": list(ids)} for ids in prompts_P]
        outputs = self.llm.generate(prompts, params, use_tqdm=False)
        done(len(outputs) * samples)
        flat = [list(each.token_ids) for output in outputs for each in output.outputs]
        return by_prompt(flat, distinct(samples, temperature), samples)
