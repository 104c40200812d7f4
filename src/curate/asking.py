"""Asking a model about problems, through the engines of the rollout group; used to measure difficulty and to judge."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from src.common.base import Config
from src.common.errors import UserError
from src.common.files import file_hash
from src.curate.store import key_of
from src.data.prompt import PromptConfig, prompt_token_ids
from src.evaluation.config import SamplingConfig
from src.grading.completions import end_tokens
from src.model.config import ModelConfig
from src.model.load import load_model, load_tokenizer, resolve
from src.rollout.config import check_vllm
from src.rollout.engine import Engine
from src.rollout.in_process import TransformersEngine
from src.rollout.vllm import VllmAlone, prepare_vllm_on_cpu


class AskConfig(Config):
    """A model, and how it is asked."""

    model: ModelConfig
    engine: Literal["transformers", "vllm"]
    prompt: PromptConfig
    sampling: SamplingConfig
    seed: int = 0
    cache: str = "outputs/.cache/curate.sqlite"  # answers by problem and model, shared by all curations

    def identity(self) -> str:
        """Names the weights and all that decides what they say; for the keys of the cache."""
        settings = self.model_dump(mode="json", exclude={"cache"})
        settings["sampling"].pop("batch_size")
        settings["model"].pop("path")
        return key_of(weights_identity(self.model), settings)

    def check(self, where: str) -> None:
        """Raise UserError for a model that is not there, and for vLLM where it is not installed; `where` is the place in
        the curation.
        """
        if self.engine == "vllm":
            check_vllm(f"{where}.engine=vllm", f"{where}.engine=transformers")
        try:
            if not Path(resolve(self.model)).is_dir():
                load_tokenizer(self.model)  # with its words for a hub out of reach
        except UserError as error:
            raise UserError(str(error).replace("model.path", f"{where}.model.path")) from error


def weights_identity(model: ModelConfig) -> str:
    """A hash of a local model's files, or the hub's commit."""
    folder = Path(resolve(model))
    if folder.is_dir():
        files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json", ".jinja"))
        return key_of([(path.name, file_hash(path)) for path in files])
    from transformers import AutoConfig

    return f"{model.path}@{AutoConfig.from_pretrained(model.path, revision=model.revision)._commit_hash}"


class Asker:
    """Asks one model; it is loaded at the first question."""

    def __init__(self, config: AskConfig) -> None:
        self.config, self.identity = config, config.identity()
        self.tokenizer = load_tokenizer(config.model)
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = ENGINES[self.config.engine](self.config, self.tokenizer)
        return self._engine

    def ask(self, questions: Sequence[str], samples: int) -> list[list[list[int]]]:
        """Token ids of `samples` completions for each question. The same questions together give the same ones."""
        sampling = self.config.sampling
        mixed = hashlib.sha256("\n".join(questions).encode("utf-8", "surrogatepass")).digest()[:4]
        return self.engine.generate(
            [prompt_token_ids(self.tokenizer, self.config.prompt, question) for question in questions],
            samples,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            limit=sampling.max_completion_tokens,
            seed=(self.config.seed + int.from_bytes(mixed)) % 2**31,
            done=lambda number: None,
        )


def _transformers(config: AskConfig, tokenizer: Any) -> Engine:
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    model = load_model(config.model).to("cuda" if torch.cuda.is_available() else "cpu")
    if model.device.type == "cpu":
        torch.set_num_threads(1)  # a second thread costs more than it gives beside any other process
    ends = end_tokens(tokenizer, model.generation_config)
    return TransformersEngine(model, tokenizer, ends, config.sampling.batch_size)


def _vllm(config: AskConfig, tokenizer: Any) -> Engine:
    import torch
    from transformers import GenerationConfig

    if not torch.cuda.is_available():
        prepare_vllm_on_cpu()
    named = GenerationConfig.from_pretrained(resolve(config.model), revision=config.model.revision or "main")
    return VllmAlone(config.model, end_tokens(tokenizer, named))


ENGINES = {"transformers": _transformers, "vllm": _vllm}
