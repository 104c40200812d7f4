"""`grpo-lab export <run> <folder>` writes a run's best weights as a plain folder: adapters merged, with a model card.

A checkpoint or an adapter's folder will do as well. Nothing half-written is left behind.
"""

import argparse
import shlex
import shutil
import sys
from pathlib import Path

from src.common.errors import BAD_INPUT, UserError
from src.common.files import UNFINISHED
from src.common.streams import protect
from src.experiment.measuring import run_of, weights_of
from src.model.adapters import base_of
from src.model.config import ModelConfig
from src.model.load import resolve
from src.model.places import prefer_cache
from src.plan.disk import size_of
from src.record.model_card import model_card
from src.record.publish import TRAINING_ONLY
from src.record.record import read_summary


def export(source: str, folder: Path) -> None:
    """Raises UserError where there are no such weights, or something lies at `folder`."""
    if folder.exists():
        raise UserError(f"export: {folder} is there already; name another folder")
    weights, run = weights_of(source), run_of(source)
    whole = whole_weights(weights)
    staging = folder.with_name(f".{folder.name}{UNFINISHED}")
    shutil.rmtree(staging, ignore_errors=True)  # left by a kill
    try:
        shutil.copytree(whole, staging, ignore=shutil.ignore_patterns(*TRAINING_ONLY))
        summary = read_summary(run) if run else {}
        if summary.get("status") == "complete" and Path(weights).resolve().name == f"checkpoint-{summary['best_step']}":  # of which the card is
            (staging / "README.md").write_text(model_card(run), encoding="utf-8")
        staging.rename(folder)
    except OSError as error:
        raise UserError(f"export: cannot write {folder} ({error.strerror})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def whole_weights(path: str) -> Path:
    """The folder of a model, or of what an adapter and its base amount to. Raises UserError for what is neither."""
    model = ModelConfig(path=path, revision=None, dtype="float32", attention="sdpa", lora=None)
    if base_of(path):
        prefer_cache(model)  # merges it
    found = Path(resolve(model))
    if not found.is_dir():
        raise UserError(f"export: {path} is no run, and no folder with weights")
    return found


def main() -> None:
    protect()
    parser = argparse.ArgumentParser(prog="grpo-lab export", description=__doc__.splitlines()[0])
    parser.add_argument("run", help="a run (its best weights), one of its checkpoints, or an adapter's folder")
    parser.add_argument("folder", type=Path, help="where to write; must not be there yet")
    options = parser.parse_args()
    try:
        export(options.run, options.folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    place = shlex.quote(str(options.folder))
    size = size_of(options.folder) / 1e6
    print(f"model: {options.folder} ({size:,.1f} MB, loads with transformers)\nserve it: vllm serve {place}\nask it: grpo-lab try {place}")


if __name__ == "__main__":
    main()
