"""TRL's `VLLMGeneration` as the configuration means it: the model's revision and dtype in the engine, room for measuring, an
adapter that leaves its base as it is, and a server that is not waited for without an end.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from accelerate.utils import is_peft_model
from trl.generation import vllm_generation

from src.common.errors import RunFailed
from src.model.adapters import merged_weights
from src.rollout.client import PUSH_S, WatchedClient, patiently

# Sequences at once in an engine that shares a GPU: vLLM's own default on most. TRL's, the completions of an update, is less than
# the cache has room for while it is measured.
AT_ONCE = 256


class LabGeneration(vllm_generation.VLLMGeneration):
    """Takes what TRL's does, and the engine's revision and dtype, which a server has from its command line."""

    def __init__(self, *args: Any, revision: str | None, dtype: str, **kwargs: Any) -> None:
        self.revision, self.dtype = revision, dtype
        super().__init__(*args, **kwargs)

    def _init_vllm(self) -> None:
        if self.mode == "server":
            if self.accelerator.is_main_process:
                self.connect()
            self.accelerator.wait_for_everyone()
            return
        self.max_num_seqs = max(self.max_num_seqs, AT_ONCE)
        plain = vllm_generation.LLM
        vllm_generation.LLM = partial(plain, revision=self.revision, dtype=self.dtype)
        try:
            super()._init_vllm()
        finally:
            vllm_generation.LLM = plain

    def connect(self) -> None:
        """Get a client of the server as it now is. Raises RunFailed where that cannot be had."""
        if old := getattr(self, "vllm_client", None):
            old.close_communicator()
        url = self.server_base_url or f"http://{self.server_host}:{self.server_port}"

        def client() -> WatchedClient:
            found = WatchedClient(base_url=url, group_port=self.group_port, connection_timeout=self.server_timeout)
            found.init_communicator(device=self.accelerator.device)
            return found

        try:
            (self.vllm_client,) = patiently([client], self.server_timeout + PUSH_S)
        except RunFailed as error:
            raise RunFailed(f"the vLLM server at {url} cannot be joined ({error})") from error

    @property
    def room(self) -> int:
        """Tokens of the longest sequence that the engine takes."""
        return self.vllm_client.room if self.mode == "server" else self.llm.llm_engine.model_config.max_model_len

    def _iter_named_params(self) -> Iterator[tuple[str, torch.Tensor]]:
        if is_peft_model(self.model):
            yield from merged_weights(self.model)
        else:
            yield from super()._iter_named_params()
