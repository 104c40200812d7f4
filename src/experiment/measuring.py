"""Models measured without training, under one protocol: a record of each, which the report reads beside runs."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from src.common.errors import UserError, in_words
from src.common.screen import Screen, with_interval
from src.config.tree import LabConfig
from src.experiment.ending import last_save
from src.experiment.preparing import prepare_libraries
from src.hardware.config import check_device
from src.model.load import resolve
from src.record.checkpoints import Checkpoints
from src.record.read import MEASUREMENT
from src.record.record import Record, new_folder, read_summary
from src.rollout.config import check_engine

if TYPE_CHECKING:
    from src.evaluation.evaluator import Measured
    from src.rollout.engine import Engine

FOLDER = "evaluate"  # of the records, in the output root


def weights_of(model: str) -> str:
    """What to load of what a person names: of a run the best checkpoint by its validation, everything else as it is. Raises
    UserError where a run has none."""
    if not (Path(model) / "summary.json").is_file():
        return model
    summary, checkpoints = read_summary(Path(model)), Checkpoints(Path(model) / "checkpoints", kept=1)
    best = summary.get("best_step") or checkpoints.progress().best_step
    if best not in checkpoints.steps():
        raise UserError(f"model.path: the run {model} has no checkpoint of its best step; name one of its checkpoints")
    return str(checkpoints.at(best))


def run_of(model: str) -> Path | None:
    """The run that a run's folder, or a checkpoint's, belongs to."""
    folder = Path(model)
    return next((place for place in (folder, *folder.absolute().parents[:2]) if (place / "summary.json").is_file()), None)


def measure_models(configs: Sequence[tuple[str, LabConfig]], screen: Screen) -> list[Path]:
    """Measure models, each under the name that it was given by, and return their records' folders. Where evaluation ends when it
    is decided, that is of the difference to the first one.

    Raises UserError for bad input, before anything is measured. What was measured is kept in the cache of runs, so that the
    same command goes on where it was ended.
    """
    for _, config in configs:
        resolve(config.model)
        check_engine(config.rollout)
        check_device(config.hardware)
    first = configs[0][1]
    if not first.evaluation.suites:
        raise UserError("evaluation.suites: there is none to measure on; choose another evaluation")
    prepare_libraries(first)

    from src.grading.grader import Grader

    folders: list[Path] = []
    before: dict[str, Measured] = {}
    with Grader(first.hardware.grading_workers, rules=first.grading.rules) as grader:
        for name, config in configs:
            folder, found = _measured(name, config, grader, before, screen)
            folders, before = [*folders, folder], before or found
    return folders


def _measured(
    name: str, config: LabConfig, grader, before: "Mapping[str, Measured]", screen: Screen
) -> "tuple[Path, dict[str, Measured]]":

    from src.evaluation.evaluator import Evaluator
    from src.experiment.data import load_suites
    from src.model.load import fingerprint, load_model, load_tokenizer

    began, evaluation = time.monotonic(), config.evaluation
    tokenizer, model = load_tokenizer(config.model), load_model(config.model)
    suites, notes = load_suites(config, tokenizer, grader)
    cache = Path(config.output_root) / ".cache" / "evaluation"
    prompt, script = evaluation.asked_with(config.prompt), config.reward.language.script
    evaluator = Evaluator(evaluation, prompt, script, tokenizer, grader, cache, screen.warn)
    weights, engine = fingerprint(model), engine_alone(config, model, tokenizer)

    folder = new_folder(config.output_root, FOLDER)
    summary = {
        "kind": MEASUREMENT, "model": name, "weights": weights, "experiment": FOLDER, "scale": config.scale.name,
        "seed": evaluation.seed, "problems": {"notes": notes},
    }  # fmt: skip
    text = yaml.safe_dump(config.published(), sort_keys=False, allow_unicode=True)
    record = Record.open(folder, text, summary, config.grading.rules)
    try:
        record.save()
        problems = {problem.id: problem for suite in suites for problem in suite.problems}
        record.problems("evaluation/problems", problems.values())
        found: dict[str, Measured] = {}
        for suite in suites:
            screen.note(f"measuring {name} on {suite.name}: {len(suite.problems)} problems x {suite.samples} samples")
            with screen.counting(len(suite.problems) * suite.samples) as done:
                measured = found[suite.name] = evaluator.measure(engine, weights, suite, done, before.get(suite.name))
            record.table(f"evaluation/{suite.name}_measured", measured.rows)
            screen.note(f"  {with_interval(measured.summary, 'accuracy')} % right")
        seconds = time.monotonic() - began
        spent = {"usd": config.hardware.cost_usd(seconds), "gpu_hours": config.hardware.gpu_hours(seconds)}
        cost = spent | {"seconds": {"evaluation": seconds}}
        record.save(status="complete", evaluation={name: {"measured": each.summary} for name, each in found.items()}, cost=cost)
    except KeyboardInterrupt:
        last_save(record, status="interrupted", reason="stopped at once")
        raise
    except Exception as error:
        last_save(record, status="failed", reason=in_words(error))
        raise
    finally:
        record.close()
    return folder, found


def engine_alone(config: LabConfig, model, tokenizer) -> "Engine":
    """What samples from a model where nothing is trained: the same numbers as in a run under transformers."""
    from src.experiment.serving import engine_dtype
    from src.grading.completions import end_tokens
    from src.rollout.vllm import VllmAlone

    if config.rollout.uses_vllm:
        ends, longest = end_tokens(tokenizer, model.generation_config), config.trainer.get("vllm_max_model_length")
        return VllmAlone(config.model, ends, dtype=engine_dtype(config), **({"max_model_len": longest} if longest else {}))
    return transformers_engine(config, model, tokenizer)


def transformers_engine(config: LabConfig, model, tokenizer) -> "Engine":
    """The same under transformers, whatever samples in training."""
    import torch

    from src.grading.completions import end_tokens
    from src.rollout.in_process import TransformersEngine

    ends, hardware = end_tokens(tokenizer, model.generation_config), config.hardware
    dtype = torch.bfloat16 if hardware.bf16 else None
    batch_size, by_number = config.evaluation.sampling.batch_size, config.evaluation.in_rounds
    return TransformersEngine(model, tokenizer, ends, batch_size, torch.device(hardware.device), dtype, by_number)
