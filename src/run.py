"""The entry: `python -m src.run +experiment=mix_easy_hard`. Reads like the list of what a run does.

config -> problems -> mix -> base measured -> training -> trained model measured -> record. This is the only file
that knows the order of the steps. torch, transformers and trl are imported after the configuration was validated, which
`src.command_line` does.
"""

import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from src.bill.accounting import Ledger
from src.bill.budget import BudgetWatch, Heading
from src.bill.out_of_memory import memory_in_words
from src.bill.plan import Plan, facts, plan_of, warnings
from src.checkpoints import Checkpoints
from src.config import LabConfig
from src.data import roles_to_load
from src.distributed.ranks import agree, check_world, is_first, reason_elsewhere, world_size
from src.distributed.server import Server, check_server, server_for, serving, survive
from src.errors import RunFailed, UserError
from src.files import write_json
from src.hardware import HardwareConfig, check_device, check_sharding
from src.hub.publish import push
from src.model import resolve
from src.problems import check_pools
from src.record import NoRecord, Record, look_up, new_folder
from src.rollout import check_engine, prepare_vllm_on_cpu
from src.screen import Screen, duration

if TYPE_CHECKING:
    from src.data import Data
    from src.training import Session, Stop, Watch


def run(config: LabConfig, screen: Screen | None = None, watches: Sequence["Watch"] = ()) -> dict[str, Any]:
    """Carry out one run, or continue the one in `config.resume`; returns its summary.

    Raises UserError for bad input, before anything is written, and RunFailed for a run that cannot go on.
    """
    ledger, screen = Ledger(), screen or Screen(quiet=not is_first())
    heed_signals()
    check_machine(config)
    check_world(config.hardware.processes)
    prepare_libraries(config)

    from src.data import prepare_data
    from src.grading import Grader
    from src.model import load_model, load_tokenizer
    from src.training import trl_config

    with Grader(max(1, config.hardware.grading_workers // world_size())) as grader:
        tokenizer = load_tokenizer(config.model)
        data = prepare_data(config, tokenizer, grader)
        plan = plan_of(config)
        screen.announce(facts(config, data, plan))
        for warning in warnings(config, plan):
            screen.warn(warning)
        with memory_in_words(config, plan):
            model = load_model(config.model)
        trainer_config = trl_config(config, Path(config.output_root))  # where the processes meet
        folder = Path(agree(config.resume or config.run_dir or str(new_folder(config.output_root, config.name))))
        trainer_config.output_dir = str(folder / "checkpoints")
        if not is_first():
            with memory_in_words(config, plan):
                return follow(config, data, (trainer_config, model, tokenizer), grader, folder, ledger, screen)
        record = open_record(config, data, folder, plan)
        watches = [*watches, BudgetWatch(config), Heading(config, plan, record, screen)]
        try:
            server = server_for(config, folder / "server.log")
            if server:
                screen.note(f"starting the vLLM server; it writes to {server.log}")
            with serving(server), memory_in_words(config, plan):
                parts = (trainer_config, model, tokenizer, server)
                return carry_out(config, data, parts, grader, record, ledger, screen, watches)
        except KeyboardInterrupt:
            record.save(status="interrupted", reason="stopped at once", cost=cost(config, ledger))
            screen.note(f"stopped at once; continue with: python -m src.run resume={folder}")
        except Exception as error:
            reason = reason_elsewhere() or (str(error) if isinstance(error, RunFailed) else repr(error))
            record.save(status="failed", reason=reason, cost=cost(config, ledger))
            raise
        finally:
            screen.stop()
    return record.summary


def carry_out(
    config: LabConfig, data: "Data", parts: tuple, grader, record: Record, ledger: Ledger, screen: Screen, watches
) -> dict[str, Any]:
    """Measure the base, train, measure again, and close the record."""
    from src.before_after import BeforeAfter
    from src.evaluation import Evaluator
    from src.tracking import Tracker
    from src.training import Session

    trainer_config, model, tokenizer, server = parts
    session = Session(
        config, trainer_config, model, tokenizer, data.presentations, grader, record, ledger, len(data.mix.problems)
    )
    keep_server(config, session, server, screen)
    prompt, script = config.evaluation.asked_with(config.prompt), config.reward.language.script
    cache = Path(config.output_root) / ".cache" / "evaluation"
    evaluator = Evaluator(config.evaluation, prompt, script, tokenizer, grader, cache)
    measurements = BeforeAfter(session, evaluator, data.validation, data.suites, record, screen)

    tracker = Tracker(config.tracking, screen.warn)
    tracker.start(record, config)
    try:
        session.restore()
        measurements.before()
        screen.start(config.scale.steps, session.progress.step)
        stop = agree(BudgetWatch(config).after(ledger.total()))  # measuring may have taken it all
        stop = stop or session.train(measurements.validate, screen, tracker.log, watches)
        screen.stop()
        if stop is None:
            measurements.after()
        close(config, record, session, measurements.results, stop, screen)
        if config.hub.push and stop is None:
            push(config, record, session.checkpoints.at(session.progress.best_step), tokenizer, screen)
    finally:
        tracker.finish(record.summary)
    return record.summary


def follow(
    config: LabConfig, data: "Data", parts: tuple, grader, folder: Path, ledger: Ledger, screen: Screen
) -> dict[str, Any]:
    """What the ranks other than 0 do: train along. Record, screen, tracking and measuring are rank 0's."""
    from src.training import Session

    session = Session(
        config, *parts, data.presentations, grader, NoRecord(folder, {}), ledger, len(data.mix.problems)
    )
    keep_server(config, session, None, screen)
    session.restore()
    if agree(None) is None:  # rank 0 has not spent the budget already
        session.train(validate=None, screen=screen, log=None)
    return {"status": "followed"}


def keep_server(config: LabConfig, session: "Session", server: Server | None, screen: Screen) -> None:
    """Have training survive one death of the vLLM server, if that is what samples."""
    if config.rollout.engine == "vllm_server":
        survive(session.trainer.vllm_generation, server, screen.note)


def close(
    config: LabConfig, record: Record, session: "Session", evaluation: dict[str, Any], stop: "Stop | None", screen: Screen
) -> None:
    """Write the summary, and say what was found and where it lies."""
    progress = session.progress
    record.save(
        steps=progress.step, best_step=progress.best_step, validation=progress.validation, evaluation=evaluation,
        stability=progress.stability, cost=cost(config, session.ledger),
    )
    if stop is None:
        values = [look_up(record.summary, key) for key in config.objectives]
        record.save(status="complete", objective=values[0] if isinstance(config.objective, str) else values)
        screen.verdict(evaluation)
        spent = record.summary["cost"]
        total = duration(sum(spent["seconds"].values()))
        screen.note(f"best validation at step {progress.best_step}; took {total}, ${spent['usd']:.2f}")
    else:
        record.save(status=stop.status, reason=stop.reason)
        screen.note(f"{stop.status} after step {progress.step} ({stop.reason})")
        if stop.status == "interrupted":
            screen.note(f"continue with: python -m src.run resume={record.folder}")
        if stop.status == "out_of_budget":
            screen.note(f"continue with a larger budget: python -m src.run resume={record.folder} budget.usd=...")
    screen.note(f"record: {record.folder}")


def cost(config: LabConfig, ledger: Ledger) -> dict[str, Any]:
    """The account for the summary: dollars, GPU-hours, tokens, operations, and seconds by phase."""
    total = ledger.total()
    return {
        "usd": config.hardware.cost_usd(total),
        "gpu_hours": config.hardware.gpu_hours(total),
        "prompt_tokens": ledger.prompt_tokens,
        "completion_tokens": ledger.completion_tokens,
        "flops": ledger.flops(),
        "seconds": ledger.read(),
    }


def heed_signals() -> None:
    """Rank 0 ends a run on SIGTERM, which Slurm sends, as it does on Ctrl-C; the other ranks go by what it decides."""
    signal.signal(signal.SIGTERM, signal.default_int_handler if is_first() else signal.SIG_IGN)
    if not is_first():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def check_machine(config: LabConfig) -> None:
    """Raise UserError for what this machine cannot do, before anything slow."""
    resolve(config.model)
    check_engine(config.rollout)
    check_pools(config.problems, roles_to_load(config))
    check_device(config.hardware)
    check_sharding(config.hardware)
    check_server(config)


def prepare_libraries(config: LabConfig) -> None:
    """Set torch's threads, and keep transformers from drawing progress bars for files that are on this machine."""
    import torch
    import transformers

    if config.hardware.cpu_threads:
        torch.set_num_threads(config.hardware.cpu_threads)
    if config.rollout.engine == "vllm_colocate" and config.hardware.device == "cpu":
        prepare_vllm_on_cpu()
    transformers.logging.set_verbosity_error()
    if Path(resolve(config.model)).is_dir():
        transformers.logging.disable_progress_bar()


def check_same_sharding(folder: Path, hardware: HardwareConfig) -> None:
    """Raise UserError where the last checkpoint is of another kind of sharding, or under ZeRO-2 of another number of
    processes, which DeepSpeed refuses."""
    sharding, parts = Checkpoints(folder / "checkpoints", kept=1).sharding()
    if sharding not in (None, hardware.sharding):
        raise UserError(f"resume: its optimiser was saved under another sharding; set hardware.sharding={sharding}")
    if sharding == "zero2" and parts != hardware.processes:
        raise UserError(
            f"resume: under hardware.sharding=zero2 the optimiser's state is in {parts} parts; set "
            f"hardware.processes={parts} (runs with hardware.sharding=none or fsdp2 go on with another number)"
        )


def open_record(config: LabConfig, data: "Data", folder: Path, plan: Plan | None) -> Record:
    """The run's folder: a new one, or the one to continue."""
    import pandas as pd

    from src.data import check_same_problems

    if config.resume:
        check_same_problems(pd.read_parquet(folder / "problems.parquet")["id"], data)
        check_same_sharding(folder, config.hardware)
        return Record.reopen(folder)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    summary = {"experiment": config.name, "scale": config.scale.name, "seed": config.seed}
    record = Record.open(folder, text, summary | {"problems": data.report()})
    if plan:
        write_json(folder / "plan.json", asdict(plan))
    record.table("problems", pd.DataFrame([asdict(problem) for problem in data.presentations]))
    measured_on = {problem.id: problem for suite in (data.validation, *data.suites) for problem in suite.problems}
    record.table("evaluation/problems", pd.DataFrame([asdict(problem) for problem in measured_on.values()]))
    record.save()
    return record


if __name__ == "__main__":
    from src.command_line import main

    main()
