"""One run, from a configuration to its summary. Reads like the list of what a run does.

config -> problems -> mix -> base measured -> training -> trained model measured -> record. This is the only file
that knows the order of the steps. torch, transformers and trl are imported after the configuration was validated, which
src/run.py does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.common.pace import PACE
from src.common.screen import Screen, duration
from src.config.tree import LabConfig
from src.experiment.announce import facts, warnings
from src.experiment.ending import failed, last_save, resume_command, what_next
from src.experiment.preparing import check_machine, heed_signals, open_record, prepare_libraries
from src.experiment.serving import server_for
from src.experiment.watches import BudgetWatch, Heading
from src.hardware.ranks import agree, check_world, is_first, meet, tell_pace, world_size
from src.plan.out_of_memory import memory_in_words
from src.plan.plan import longest_piece_s, plan_of
from src.record.ledger import Ledger
from src.record.publish import push
from src.record.record import NoRecord, Record, look_up, new_folder
from src.rollout.server import serving, survive
from src.training.own_terms import rehearse

if TYPE_CHECKING:
    from src.common.types import Stop
    from src.experiment.after_step import Watch
    from src.experiment.session import Session


def run(config: LabConfig, screen: Screen | None = None, watches: Sequence["Watch"] = ()) -> dict[str, Any]:
    """Carry out one run, or continue the one in `config.resume`; returns its summary.

    Raises UserError for bad input, before anything is written, and RunFailed for a run that cannot go on.
    """
    ledger, screen = Ledger(), screen or Screen(quiet=not is_first())
    heed_signals()
    check_machine(config)
    check_world(config.hardware.processes)
    tell_pace()
    prepare_libraries(config)

    from src.config.teacher import check_teacher
    from src.experiment.data import prepare_data
    from src.experiment.session import Learner, Session
    from src.experiment.trl_config import trl_config
    from src.grading.grader import Grader
    from src.model.load import generation_not_followed, load_model, load_tokenizer, peft_config

    workers = max(1, config.hardware.grading_workers // world_size())
    with Grader(workers, rules=config.grading.rules) as grader:
        tokenizer = load_tokenizer(config.model)
        peft_config(config.model)  # what PEFT refuses is said before anything is written
        check_teacher(config, tokenizer)
        data = prepare_data(config, tokenizer, grader)
        rehearse(config.reward, [data.presentations[0]] * config.algorithm.completions_per_prompt, config.scale.completion_budget)
        plan = plan_of(config)
        PACE.planned_s = longest_piece_s(plan)
        screen.announce(facts(config, data, plan))
        for warning in warnings(config, plan):
            screen.warn(warning)
        with memory_in_words(config, plan):
            model = load_model(config.model)
        if unused := generation_not_followed(model):
            settings = ", ".join(f"{name}={value}" for name, value in unused.items())
            screen.note(f"the model's generation_config.json is not followed ({settings}): rollout and evaluation.sampling say how it is sampled")
        trainer_config = trl_config(config, Path(config.output_root))  # where the processes meet
        folder = Path(agree(config.resume or config.run_dir or str(new_folder(config.output_root, config.name))))
        trainer_config.output_dir = str(folder / "checkpoints")
        record: Record = NoRecord(folder, {"status": "followed"})
        if is_first():
            record = open_record(config, data, folder, plan, screen.warn)
        agree(None)  # the others look at the checkpoints when the damaged ones have been put aside
        watches = [*watches, BudgetWatch(config), Heading(config, plan, record, screen)]
        try:
            server = server_for(config, folder / "server.log") if is_first() else None
            if server:
                trainer_config.vllm_server_base_url = server.url
                screen.note(f"starting the vLLM server; it writes to {server.log}")
            with serving(server), memory_in_words(config, plan):
                session = Session(config, Learner(model, tokenizer, trainer_config), data, grader, record, ledger)
                if config.rollout.is_server:
                    survive(session.trainer.vllm_generation, server, screen.note)
                if is_first():
                    carry_out(session, screen, watches)
                else:
                    follow(session, screen)
        except KeyboardInterrupt:
            last_save(record, status="interrupted", reason="stopped at once", cost=cost(config, ledger))
            screen.note(f"stopped at once; continue with: {resume_command(folder)}")
        except Exception as error:
            if (said := failed(record, error, cost(config, ledger))) is error:
                raise
            raise said from error
        finally:
            screen.stop()
            record.close()
    return record.summary


def carry_out(session: "Session", screen: Screen, watches: Sequence["Watch"]) -> None:
    """Measure the base, train, measure again, and close the record."""
    from src.evaluation.evaluator import Evaluator
    from src.experiment.after_step import train
    from src.experiment.before_after import BeforeAfter
    from src.record.tracking import Tracker

    config, record, tokenizer = session.config, session.record, session.trainer.processing_class
    prompt, script = config.evaluation.asked_with(config.prompt), config.reward.language.script
    cache = Path(config.output_root) / ".cache" / "evaluation"
    evaluator = Evaluator(config.evaluation, prompt, script, tokenizer, session.grader, cache, screen.warn)
    measurements = BeforeAfter(session, evaluator, screen)

    tracker = Tracker(config.tracking, screen.warn)
    tracker.start(record, config.published())
    if tracker.page:
        screen.note(f"W&B: {tracker.page}")
    try:
        session.restore()
        measurements.before()
        meet()
        screen.start(config.scale.steps, session.progress.step)
        stop = agree(BudgetWatch(config).after(session.ledger.total()))  # measuring may have taken it all
        stop = stop or train(session, measurements.validate, screen, tracker.log, watches)
        screen.stop()
        if stop is None:
            measurements.after()
        close(session, measurements.results, stop, screen)
        if config.hub.push and stop is None:
            best = session.checkpoints.at(session.progress.best_step)
            push(config.hub, record, best, tokenizer, screen, config.trainer.get("hub_token"))
        if config.record.checkpoint == "weights" and stop is None:
            session.checkpoints.keep_weights(session.progress.best_step)
    finally:
        tracker.finish(record.summary)
        if tracker.sync:
            screen.note(f"W&B: kept on this machine; to send it: {tracker.sync}")


def follow(session: "Session", screen: Screen) -> None:
    """What the ranks other than 0 do: train along, and help where all measure. Record, screen and tracking are rank 0's."""
    from src.experiment.after_step import train
    from src.experiment.sharing import serve

    session.restore()
    serve(session)
    meet()
    stop = agree(None)  # rank 0 may have spent the budget already
    stop = stop or train(session, validate=None, screen=screen, log=None)
    if stop is None:
        serve(session)


def close(session: "Session", evaluation: dict[str, Any], stop: "Stop | None", screen: Screen) -> None:
    """Write the summary, and say what was found and where it lies."""
    PACE.rest()  # sending to the hub and to W&B have limits of their own
    config, record, progress = session.config, session.record, session.progress
    record.save(
        steps=progress.step, best_step=progress.best_step, validation=progress.validation, evaluation=evaluation,
        stability=progress.stability, cost=cost(config, session.ledger),
    )
    if stop is None:
        values = [look_up(record.summary, key) for key in config.objectives]
        record.complete(objective=values[0] if isinstance(config.objective, str) else values)
        screen.verdict(evaluation)
        spent = record.summary["cost"]
        total = duration(sum(spent["seconds"].values()))
        screen.note(f"best validation at step {progress.best_step}; took {total}, ${spent['usd']:.2f}")
        screen.note(f"best weights: {session.checkpoints.name_best(progress.best_step)}")
    else:
        record.save(status=stop.status, reason=stop.reason)
        screen.note(f"{stop.status} after step {progress.step} ({stop.reason})")
        if stop.status == "interrupted":
            screen.note(f"continue with: {resume_command(record.folder)}")
        if stop.status == "out_of_budget":
            screen.note(f"continue with a larger budget: {resume_command(record.folder)} budget.usd=...")
    screen.note(f"record: {record.folder}")
    if stop is None:
        screen.note("next: " + "\n      ".join(what_next(record.folder)))


def cost(config: LabConfig, ledger: Ledger) -> dict[str, Any]:
    """The account for the summary: dollars, GPU-hours, tokens, operations, and seconds by phase."""
    total = ledger.total()
    return {
        "usd": config.hardware.cost_usd(total),
        "gpu_hours": config.hardware.gpu_hours(total),
        "prompt_tokens": ledger.prompt_tokens,
        "completion_tokens": ledger.completion_tokens,
        "thrown_away": ledger.thrown_away | {"share": ledger.thrown_away["tokens"] / max(1, ledger.completion_tokens)},
        "flops": ledger.flops(),
        "seconds": ledger.read(),
    }

