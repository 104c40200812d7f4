"""The Optuna sweeper as Hydra sees it, and the command `grpo-lab` as pip sees it: this package alone has the same name in a
checkout and in a wheel. Everything they do is in `src`, imported when it begins."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class OptunaSweeper(Sweeper):
    """`hydra/sweeper=optuna`; its keys are those of conf/hydra/sweeper/optuna.yaml."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        # The task function is not called: a trial is a process of its own, with a configuration composed for it.
        self.config, self.loader = config, hydra_context.config_loader

    def sweep(self, arguments: list[str]) -> Any:
        from src.sweep.command import sweep

        return sweep(self.options, self.loader, self.config, arguments)


def command() -> None:
    from src.commands.__main__ import main

    main()
